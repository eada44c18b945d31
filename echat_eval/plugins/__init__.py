"""Look-up of systems, annotators and scorers by name, construction from settings, and their members."""

from echat_eval.plugins.describe import DescribedSetting, described_settings
from echat_eval.plugins.members import (
    absent_members,
    present_members,
    renamed,
    require_different_names,
    require_members,
)
from echat_eval.plugins.names import (
    is_file_spec,
    known_names,
    load_file,
    load_named,
    loaded_source,
    split_spec,
)
from echat_eval.plugins.parts import DEFAULTS, PartSpec, build_part, parse_parts
from echat_eval.plugins.settings import COUNTS, SECONDS, check_setting, construct, parse_setting

__all__ = [
    "COUNTS",
    "DEFAULTS",
    "SECONDS",
    "DescribedSetting",
    "PartSpec",
    "absent_members",
    "build_part",
    "check_setting",
    "construct",
    "described_settings",
    "is_file_spec",
    "known_names",
    "load_file",
    "load_named",
    "loaded_source",
    "parse_parts",
    "parse_setting",
    "present_members",
    "renamed",
    "require_different_names",
    "require_members",
    "split_spec",
]
