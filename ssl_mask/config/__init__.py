"""What a run is asked to do: one frozen tree of settings, unknown keys refused, every problem reported at once."""

from ssl_mask.config.base import LARGEST_IMAGE as LARGEST_IMAGE
from ssl_mask.config.data import AugmentConfig as AugmentConfig
from ssl_mask.config.data import DataConfig as DataConfig
from ssl_mask.config.factors import factor_config as factor_config
from ssl_mask.config.load import PROJECT_FILE as PROJECT_FILE
from ssl_mask.config.load import explain as explain
from ssl_mask.config.load import load_config as load_config
from ssl_mask.config.load import parse_assignments as parse_assignments
from ssl_mask.config.load import read_config_file as read_config_file
from ssl_mask.config.load import resolve as resolve
from ssl_mask.config.load import to_yaml as to_yaml
from ssl_mask.config.load import validate as validate
from ssl_mask.config.model import LossConfig as LossConfig
from ssl_mask.config.model import ModelConfig as ModelConfig
from ssl_mask.config.run import RunConfig as RunConfig
from ssl_mask.config.training import AlgorithmConfig as AlgorithmConfig
from ssl_mask.config.training import OptimConfig as OptimConfig
from ssl_mask.config.training import TrainConfig as TrainConfig
from ssl_mask.config.tree import merge as merge
from ssl_mask.config.tree import merged as merged
from ssl_mask.config.tree import nest as nest
from ssl_mask.config.tree import settle_length as settle_length
from ssl_mask.config.unlabeled import GuardConfig as GuardConfig
from ssl_mask.config.unlabeled import PseudoConfig as PseudoConfig
