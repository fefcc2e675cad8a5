"""CC profiles: which congestion control QPs run, and with which numbers (7.5).

The algorithm is a name out of the device's list, None for no congestion control at all;
the config belongs to the algorithm and is handed through as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed.transport.mrc.ctl.profile import (
    UNSET,
    Capability,
    Profile,
    ProfileKind,
    ProfileState,
    Unset,
    given,
    known,
    merged,
)
from testbed.transport.mrc.errors import Errno, MrcError

if TYPE_CHECKING:
    from testbed.transport.mrc.cc_config import CcConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class CcProfileConfig:
    """What a CC profile holds; ``algorithm`` None turns congestion control off."""

    algorithm: str | Unset | None = UNSET
    config: CcConfig | Unset = UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class CcProfileAttr(CcProfileConfig):
    """What a modify call gives and a query returns."""

    state: ProfileState | Unset = UNSET


class CcProfile(Profile[CcProfileConfig, object, "CcConfig"]):
    """One CC profile; QPs are its users, and observers are told a config changed ONLINE."""

    kind = ProfileKind.CC

    def __init__(
        self, profile_id: int, algorithms: tuple[str, ...], capabilities: Capability
    ) -> None:
        super().__init__(profile_id, CcProfileConfig())
        self._algorithms = algorithms
        self._capabilities = capabilities

    @property
    def algorithm(self) -> str | None:
        """The algorithm's name, None for off; set from OFFLINE on."""
        return known(self.config.algorithm)

    @property
    def cc_config(self) -> CcConfig | None:
        """The algorithm's numbers; None where congestion control is off and none were given."""
        config = self.config.config
        return None if isinstance(config, Unset) else config

    def modify(self, attr: CcProfileAttr) -> None:
        """Change attributes and take a step, or change nothing.

        Raises EINVAL (attribute, algorithm or step not possible), EBUSY (QPs use it).
        """
        self.check_request(given(attr), attr.state, self._capabilities)
        draft = merged(self.config, attr)
        if not isinstance(draft.algorithm, Unset):
            self._check_algorithm(draft.algorithm)
        if not isinstance(attr.state, Unset):
            off = draft.algorithm is None
            self.check_needs(draft, attr.state, frozenset({"config"} if off else ()))
        self.config = draft
        if not isinstance(attr.state, Unset):
            self.enter(attr.state)
        elif self.state is ProfileState.ONLINE and not isinstance(attr.config, Unset):
            self.announce(attr.config)

    def query(self) -> CcProfileAttr:
        """State, algorithm and config. Raises EINVAL in INIT."""
        self.check_query()
        return CcProfileAttr(
            state=self.state, algorithm=self.config.algorithm, config=self.config.config
        )

    def _check_algorithm(self, algorithm: str | None) -> None:
        if algorithm is not None and algorithm not in self._algorithms:
            raise MrcError(
                Errno.EINVAL,
                f"{self} cannot run '{algorithm}': use one of {', '.join(self._algorithms)}",
            )
