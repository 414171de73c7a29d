"""What a search leaves: the table, the winner as a configuration to use, the plots and the card."""

from __future__ import annotations

from ssl_mask.files import write_text
from ssl_mask.reports import tune_card, tune_plots
from ssl_mask.runs.trials import TrialRecord, VerdictRecord
from ssl_mask.tuning.journal import Journal
from ssl_mask.tuning.recipe import recipe_text
from ssl_mask.tuning.search import default_config
from ssl_mask.tuning.space import changed, logarithmic


def report(journal: Journal, records: list[TrialRecord], verdict: VerdictRecord) -> None:
    """The table, the configuration of the winner, the plots and the card."""
    search, base = journal.study, default_config(journal.study)
    importance = journal.importance()
    write_text(search.table, tune_card.trials_csv(records, list(journal.space)))
    write_text(search.best, recipe_text(search, changed(base, verdict.params), verdict))
    tune_plots.write_history(search.plots / "history.svg", records, journal.metric)
    tune_plots.write_importance(search.plots / "importance.svg", importance)
    tune_plots.write_parallel(search.plots / "parallel.svg", records, logarithmic(journal.space), journal.metric)
    write_text(search.card, tune_card.tune_card(str(search.path), search.settings(), records, verdict, importance))
