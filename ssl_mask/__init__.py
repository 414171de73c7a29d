"""sslmask: semi-supervised image classification: few labels, many unlabeled images, and a leakage check on every score.

The public door. Names are resolved when they are first used (PEP 562), so that importing the package, and with it
`sslmask --help`, loads no torch. What a function here takes or returns is here too.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssl_mask.config import AlgorithmConfig as AlgorithmConfig
    from ssl_mask.config import AugmentConfig as AugmentConfig
    from ssl_mask.config import DataConfig as DataConfig
    from ssl_mask.config import GuardConfig as GuardConfig
    from ssl_mask.config import LossConfig as LossConfig
    from ssl_mask.config import ModelConfig as ModelConfig
    from ssl_mask.config import OptimConfig as OptimConfig
    from ssl_mask.config import PseudoConfig as PseudoConfig
    from ssl_mask.config import RunConfig as RunConfig
    from ssl_mask.config import TrainConfig as TrainConfig
    from ssl_mask.config import load_config as load_config
    from ssl_mask.data.manifest import Manifest as Manifest
    from ssl_mask.data.manifest import Row as Row
    from ssl_mask.data.manifest import Submission as Submission
    from ssl_mask.data.schema import Factor as Factor
    from ssl_mask.data.schema import LabelSchema as LabelSchema
    from ssl_mask.demo_data.draw import DemoSummary as DemoSummary
    from ssl_mask.errors import ConfigError as ConfigError
    from ssl_mask.errors import DataError as DataError
    from ssl_mask.errors import GuardError as GuardError
    from ssl_mask.errors import ImageError as ImageError
    from ssl_mask.errors import IncompleteError as IncompleteError
    from ssl_mask.errors import InputError as InputError
    from ssl_mask.errors import Interrupted as Interrupted
    from ssl_mask.errors import MismatchError as MismatchError
    from ssl_mask.errors import ModelError as ModelError
    from ssl_mask.errors import OverlapError as OverlapError
    from ssl_mask.errors import SslMaskError as SslMaskError
    from ssl_mask.errors import StorageError as StorageError
    from ssl_mask.errors import TrainingError as TrainingError
    from ssl_mask.errors import UndeclaredError as UndeclaredError
    from ssl_mask.errors import WorkerError as WorkerError
    from ssl_mask.evaluation.metrics import ClassScore as ClassScore
    from ssl_mask.evaluation.metrics import Interval as Interval
    from ssl_mask.guard.findings import File as File
    from ssl_mask.guard.findings import Findings as Findings
    from ssl_mask.guard.findings import Pair as Pair
    from ssl_mask.guard.findings import PoolRecord as PoolRecord
    from ssl_mask.guard.findings import Unchecked as Unchecked
    from ssl_mask.guard.policy import Declaration as Declaration
    from ssl_mask.guard.policy import Refusal as Refusal
    from ssl_mask.guard.policy import Verdict as Verdict
    from ssl_mask.guard.provenance import Provenance as Provenance
    from ssl_mask.guard.self_test import AlterationRecall as AlterationRecall
    from ssl_mask.guard.self_test import SelfTest as SelfTest
    from ssl_mask.guard.status import Mark as Mark
    from ssl_mask.inference.class_sets import ClassSets as ClassSets
    from ssl_mask.inference.gallery_scores import OldAndNew as OldAndNew
    from ssl_mask.inference.unknown_marks import Unknown as Unknown
    from ssl_mask.runs.acquired import AcquireRecord as AcquireRecord
    from ssl_mask.runs.acquired import ChoosingRun as ChoosingRun
    from ssl_mask.runs.comparison import ComparisonRecord as ComparisonRecord
    from ssl_mask.runs.comparison import DifferenceRecord as DifferenceRecord
    from ssl_mask.runs.comparison import IntervalRecord as IntervalRecord
    from ssl_mask.runs.comparison import ReferenceScore as ReferenceScore
    from ssl_mask.runs.comparison import ScoreRecord as ScoreRecord
    from ssl_mask.runs.comparison import SeedRecord as SeedRecord
    from ssl_mask.runs.environment import EnvironmentRecord as EnvironmentRecord
    from ssl_mask.runs.exported import ExportRecord as ExportRecord
    from ssl_mask.runs.exported import Int8Record as Int8Record
    from ssl_mask.runs.exported import ParityRecord as ParityRecord
    from ssl_mask.runs.exported import SquareRecord as SquareRecord
    from ssl_mask.runs.factors import FactorsRecord as FactorsRecord
    from ssl_mask.runs.factors import FactorsSettings as FactorsSettings
    from ssl_mask.runs.factors import FactorStudy as FactorStudy
    from ssl_mask.runs.factors import PartRecord as PartRecord
    from ssl_mask.runs.factors import PriorRecord as PriorRecord
    from ssl_mask.runs.find import load_run as load_run
    from ssl_mask.runs.folds import CurvePoint as CurvePoint
    from ssl_mask.runs.folds import FoldsRecord as FoldsRecord
    from ssl_mask.runs.folds import FoldsSettings as FoldsSettings
    from ssl_mask.runs.folds import FoldStudy as FoldStudy
    from ssl_mask.runs.folds import OwnBest as OwnBest
    from ssl_mask.runs.gallery import Embedder as Embedder
    from ssl_mask.runs.gallery import GalleryPart as GalleryPart
    from ssl_mask.runs.gallery import GalleryRecord as GalleryRecord
    from ssl_mask.runs.predicted import ChosenWeights as ChosenWeights
    from ssl_mask.runs.predicted import NeighboursRecord as NeighboursRecord
    from ssl_mask.runs.predicted import PredictedBy as PredictedBy
    from ssl_mask.runs.predicted import PredictedSource as PredictedSource
    from ssl_mask.runs.predicted import SetsRecord as SetsRecord
    from ssl_mask.runs.predicted import UnknownRecord as UnknownRecord
    from ssl_mask.runs.records import AuditRecord as AuditRecord
    from ssl_mask.runs.records import AuditShares as AuditShares
    from ssl_mask.runs.records import BestScore as BestScore
    from ssl_mask.runs.records import DataRecord as DataRecord
    from ssl_mask.runs.records import DeclarationRecord as DeclarationRecord
    from ssl_mask.runs.records import HeadSummary as HeadSummary
    from ssl_mask.runs.records import PseudoRecord as PseudoRecord
    from ssl_mask.runs.records import RoundSummary as RoundSummary
    from ssl_mask.runs.records import RunStatus as RunStatus
    from ssl_mask.runs.records import SeenRecord as SeenRecord
    from ssl_mask.runs.records import StudyScore as StudyScore
    from ssl_mask.runs.records import UnlabeledRecord as UnlabeledRecord
    from ssl_mask.runs.reference import ReferenceRecord as ReferenceRecord
    from ssl_mask.runs.rounds import RoundsRecord as RoundsRecord
    from ssl_mask.runs.rounds import RoundsSettings as RoundsSettings
    from ssl_mask.runs.rounds import RoundStudy as RoundStudy
    from ssl_mask.runs.run import KeptFiles as KeptFiles
    from ssl_mask.runs.run import RunDir as RunDir
    from ssl_mask.runs.selected import ClassSelection as ClassSelection
    from ssl_mask.runs.selected import HeadSelectionRecord as HeadSelectionRecord
    from ssl_mask.runs.selected import ReliabilityRecord as ReliabilityRecord
    from ssl_mask.runs.selected import SelectionRecord as SelectionRecord
    from ssl_mask.runs.selected import TeacherRecord as TeacherRecord
    from ssl_mask.runs.study import Study as Study
    from ssl_mask.runs.study import StudyRecord as StudyRecord
    from ssl_mask.runs.trials import SplitRecord as SplitRecord
    from ssl_mask.runs.trials import TrialRecord as TrialRecord
    from ssl_mask.runs.trials import TrialStudy as TrialStudy
    from ssl_mask.runs.trials import TuneSettings as TuneSettings
    from ssl_mask.runs.trials import VerdictRecord as VerdictRecord
    from ssl_mask.runs.view import Run as Run
    from ssl_mask.workflows.acquire import Acquisition as Acquisition
    from ssl_mask.workflows.acquire import acquire as acquire
    from ssl_mask.workflows.audit import Audit as Audit
    from ssl_mask.workflows.audit import audit as audit
    from ssl_mask.workflows.bench import Bench as Bench
    from ssl_mask.workflows.bench import EngineSpeed as EngineSpeed
    from ssl_mask.workflows.bench import bench as bench
    from ssl_mask.workflows.compare import Comparison as Comparison
    from ssl_mask.workflows.compare import compare as compare
    from ssl_mask.workflows.demo import demo as demo
    from ssl_mask.workflows.embed import embed as embed
    from ssl_mask.workflows.evaluate import Evaluation as Evaluation
    from ssl_mask.workflows.evaluate import NewImages as NewImages
    from ssl_mask.workflows.evaluate import evaluate as evaluate
    from ssl_mask.workflows.explore import explore as explore
    from ssl_mask.workflows.export import Export as Export
    from ssl_mask.workflows.export import export as export
    from ssl_mask.workflows.factors import train_factors as train_factors
    from ssl_mask.workflows.folds import train_folds as train_folds
    from ssl_mask.workflows.gallery import Gallery as Gallery
    from ssl_mask.workflows.gallery import add_to_gallery as add_to_gallery
    from ssl_mask.workflows.gallery import build_gallery as build_gallery
    from ssl_mask.workflows.gallery import remove_from_gallery as remove_from_gallery
    from ssl_mask.workflows.gallery_search import Hit as Hit
    from ssl_mask.workflows.gallery_search import search_gallery as search_gallery
    from ssl_mask.workflows.predict import Predictions as Predictions
    from ssl_mask.workflows.predict import predict as predict
    from ssl_mask.workflows.predict_exported import ExportedPredictions as ExportedPredictions
    from ssl_mask.workflows.predict_exported import predict_exported as predict_exported
    from ssl_mask.workflows.pseudo import pseudo as pseudo
    from ssl_mask.workflows.pseudo_folds import pseudo_folds as pseudo_folds
    from ssl_mask.workflows.report import report as report
    from ssl_mask.workflows.review import review as review
    from ssl_mask.workflows.train import train as train
    from ssl_mask.workflows.tune import Search as Search
    from ssl_mask.workflows.tune import tune as tune
    from ssl_mask.workflows.uda import uda as uda

_HOME = {
    "train": "ssl_mask.workflows.train",
    "uda": "ssl_mask.workflows.uda",
    "compare": "ssl_mask.workflows.compare",
    "Comparison": "ssl_mask.workflows.compare",
    "train_factors": "ssl_mask.workflows.factors",
    "train_folds": "ssl_mask.workflows.folds",
    "pseudo_folds": "ssl_mask.workflows.pseudo_folds",
    "RoundStudy": "ssl_mask.runs.rounds",
    "RoundsRecord": "ssl_mask.runs.rounds",
    "RoundsSettings": "ssl_mask.runs.rounds",
    "FactorStudy": "ssl_mask.runs.factors",
    "FactorsSettings": "ssl_mask.runs.factors",
    "FactorsRecord": "ssl_mask.runs.factors",
    "PartRecord": "ssl_mask.runs.factors",
    "PriorRecord": "ssl_mask.runs.factors",
    "FoldStudy": "ssl_mask.runs.folds",
    "FoldsSettings": "ssl_mask.runs.folds",
    "FoldsRecord": "ssl_mask.runs.folds",
    "CurvePoint": "ssl_mask.runs.folds",
    "OwnBest": "ssl_mask.runs.folds",
    "Study": "ssl_mask.runs.study",
    "StudyRecord": "ssl_mask.runs.study",
    "tune": "ssl_mask.workflows.tune",
    "Search": "ssl_mask.workflows.tune",
    "TrialStudy": "ssl_mask.runs.trials",
    "TuneSettings": "ssl_mask.runs.trials",
    "TrialRecord": "ssl_mask.runs.trials",
    "VerdictRecord": "ssl_mask.runs.trials",
    "SplitRecord": "ssl_mask.runs.trials",
    "pseudo": "ssl_mask.workflows.pseudo",
    "predict": "ssl_mask.workflows.predict",
    "Predictions": "ssl_mask.workflows.predict",
    "bench": "ssl_mask.workflows.bench",
    "Bench": "ssl_mask.workflows.bench",
    "EngineSpeed": "ssl_mask.workflows.bench",
    "export": "ssl_mask.workflows.export",
    "Export": "ssl_mask.workflows.export",
    "predict_exported": "ssl_mask.workflows.predict_exported",
    "ExportedPredictions": "ssl_mask.workflows.predict_exported",
    "ExportRecord": "ssl_mask.runs.exported",
    "ParityRecord": "ssl_mask.runs.exported",
    "Int8Record": "ssl_mask.runs.exported",
    "SquareRecord": "ssl_mask.runs.exported",
    "PredictedSource": "ssl_mask.runs.predicted",
    "PredictedBy": "ssl_mask.runs.predicted",
    "report": "ssl_mask.workflows.report",
    "review": "ssl_mask.workflows.review",
    "explore": "ssl_mask.workflows.explore",
    "evaluate": "ssl_mask.workflows.evaluate",
    "Evaluation": "ssl_mask.workflows.evaluate",
    "ClassScore": "ssl_mask.evaluation.metrics",
    "NewImages": "ssl_mask.workflows.evaluate",
    "audit": "ssl_mask.workflows.audit",
    "Audit": "ssl_mask.workflows.audit",
    "demo": "ssl_mask.workflows.demo",
    "DemoSummary": "ssl_mask.demo_data.draw",
    "load_config": "ssl_mask.config",
    "RunConfig": "ssl_mask.config",
    "DataConfig": "ssl_mask.config",
    "AugmentConfig": "ssl_mask.config",
    "AlgorithmConfig": "ssl_mask.config",
    "ModelConfig": "ssl_mask.config",
    "LossConfig": "ssl_mask.config",
    "OptimConfig": "ssl_mask.config",
    "TrainConfig": "ssl_mask.config",
    "PseudoConfig": "ssl_mask.config",
    "GuardConfig": "ssl_mask.config",
    "load_run": "ssl_mask.runs.find",
    "Run": "ssl_mask.runs.view",
    "KeptFiles": "ssl_mask.runs.run",
    "RunDir": "ssl_mask.runs.run",
    "EnvironmentRecord": "ssl_mask.runs.environment",
    "ChosenWeights": "ssl_mask.runs.predicted",
    "RunStatus": "ssl_mask.runs.records",
    "BestScore": "ssl_mask.runs.records",
    "DataRecord": "ssl_mask.runs.records",
    "UnlabeledRecord": "ssl_mask.runs.records",
    "PseudoRecord": "ssl_mask.runs.records",
    "DeclarationRecord": "ssl_mask.runs.records",
    "SeenRecord": "ssl_mask.runs.records",
    "SelectionRecord": "ssl_mask.runs.selected",
    "TeacherRecord": "ssl_mask.runs.selected",
    "StudyScore": "ssl_mask.runs.records",
    "HeadSelectionRecord": "ssl_mask.runs.selected",
    "ClassSelection": "ssl_mask.runs.selected",
    "ReliabilityRecord": "ssl_mask.runs.selected",
    "RoundSummary": "ssl_mask.runs.records",
    "HeadSummary": "ssl_mask.runs.records",
    "AuditRecord": "ssl_mask.runs.records",
    "AuditShares": "ssl_mask.runs.records",
    "ComparisonRecord": "ssl_mask.runs.comparison",
    "SeedRecord": "ssl_mask.runs.comparison",
    "ScoreRecord": "ssl_mask.runs.comparison",
    "DifferenceRecord": "ssl_mask.runs.comparison",
    "ReferenceRecord": "ssl_mask.runs.reference",
    "ReferenceScore": "ssl_mask.runs.comparison",
    "IntervalRecord": "ssl_mask.runs.comparison",
    "Findings": "ssl_mask.guard.findings",
    "PoolRecord": "ssl_mask.guard.findings",
    "File": "ssl_mask.guard.findings",
    "Pair": "ssl_mask.guard.findings",
    "Unchecked": "ssl_mask.guard.findings",
    "Declaration": "ssl_mask.guard.policy",
    "Verdict": "ssl_mask.guard.policy",
    "Refusal": "ssl_mask.guard.policy",
    "SelfTest": "ssl_mask.guard.self_test",
    "AlterationRecall": "ssl_mask.guard.self_test",
    "Mark": "ssl_mask.guard.status",
    "Provenance": "ssl_mask.guard.provenance",
    "Interval": "ssl_mask.evaluation.metrics",
    "LabelSchema": "ssl_mask.data.schema",
    "Factor": "ssl_mask.data.schema",
    "Manifest": "ssl_mask.data.manifest",
    "Row": "ssl_mask.data.manifest",
    "Submission": "ssl_mask.data.manifest",
    "NeighboursRecord": "ssl_mask.runs.predicted",
    "SetsRecord": "ssl_mask.runs.predicted",
    "UnknownRecord": "ssl_mask.runs.predicted",
    "ClassSets": "ssl_mask.inference.class_sets",
    "Unknown": "ssl_mask.inference.unknown_marks",
    "embed": "ssl_mask.workflows.embed",
    "acquire": "ssl_mask.workflows.acquire",
    "Acquisition": "ssl_mask.workflows.acquire",
    "AcquireRecord": "ssl_mask.runs.acquired",
    "ChoosingRun": "ssl_mask.runs.acquired",
    "build_gallery": "ssl_mask.workflows.gallery",
    "add_to_gallery": "ssl_mask.workflows.gallery",
    "remove_from_gallery": "ssl_mask.workflows.gallery",
    "search_gallery": "ssl_mask.workflows.gallery_search",
    "Gallery": "ssl_mask.workflows.gallery",
    "Hit": "ssl_mask.workflows.gallery_search",
    "GalleryRecord": "ssl_mask.runs.gallery",
    "GalleryPart": "ssl_mask.runs.gallery",
    "Embedder": "ssl_mask.runs.gallery",
    "OldAndNew": "ssl_mask.inference.gallery_scores",
    "SslMaskError": "ssl_mask.errors",
    "InputError": "ssl_mask.errors",
    "ConfigError": "ssl_mask.errors",
    "DataError": "ssl_mask.errors",
    "ImageError": "ssl_mask.errors",
    "ModelError": "ssl_mask.errors",
    "StorageError": "ssl_mask.errors",
    "WorkerError": "ssl_mask.errors",
    "GuardError": "ssl_mask.errors",
    "OverlapError": "ssl_mask.errors",
    "UndeclaredError": "ssl_mask.errors",
    "MismatchError": "ssl_mask.errors",
    "IncompleteError": "ssl_mask.errors",
    "TrainingError": "ssl_mask.errors",
    "Interrupted": "ssl_mask.errors",
}
"""Name -> the module that it comes from."""
__all__ = sorted(_HOME)  # noqa: PLE0605  # a list, which ruff cannot see


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'ssl_mask' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
