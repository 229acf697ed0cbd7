"""Settings of RLHF, a file each for rejection sampling, PPO, the baselines and the versions V1 … Vn.  No torch."""

from rl.settings.baselines import DpoOptimizerSettings as DpoOptimizerSettings
from rl.settings.baselines import DpoSettings as DpoSettings
from rl.settings.baselines import GrpoOptimizerSettings as GrpoOptimizerSettings
from rl.settings.baselines import GrpoSettings as GrpoSettings
from rl.settings.ppo import AdaptiveKlSettings as AdaptiveKlSettings
from rl.settings.ppo import LengthPenaltySettings as LengthPenaltySettings
from rl.settings.ppo import PpoAdapterSettings as PpoAdapterSettings
from rl.settings.ppo import PpoOptimizerSettings as PpoOptimizerSettings
from rl.settings.ppo import PpoReplaySettings as PpoReplaySettings
from rl.settings.ppo import PpoSettings as PpoSettings
from rl.settings.ppo import RolloutSettings as RolloutSettings
from rl.settings.rejection import CandidateSettings as CandidateSettings
from rl.settings.rejection import RejectionSettings as RejectionSettings
from rl.settings.rejection import SamplesFromSettings as SamplesFromSettings
from rl.settings.versions import Baseline as Baseline
from rl.settings.versions import ChecksSettings as ChecksSettings
from rl.settings.versions import CombinationSettings as CombinationSettings
from rl.settings.versions import Control as Control
from rl.settings.versions import Refresh as Refresh
from rl.settings.versions import RlhfSettings as RlhfSettings
from rl.settings.versions import VersionCollectSettings as VersionCollectSettings
from rl.settings.versions import WhatFollows as WhatFollows
