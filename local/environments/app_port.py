"""The port of an app: chosen and held when its environment starts, and chosen again when somebody else has taken it.

Where it has to be the one that the developer named, nothing is chosen: who has it meanwhile is said.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..failures import LocalFailure
from ..ports import HeldPort, hold, hold_free, is_free

DEFAULT_APP_PORT = 8080
PORT_VARIABLES = ("FAIRLEAD_PORT", "AWS_LWA_PORT", "PORT")  # the first one that is set counts
HIGHEST = 65535


def named_port(environment: Mapping[str, str]) -> tuple[str, int]:
    """The variable in which the developer names the app's port, and the port; 0 when no port is named."""
    name = next((name for name in PORT_VARIABLES if environment.get(name)), PORT_VARIABLES[-1])
    text = environment.get(name, "")
    number = int(text) if text.isdecimal() and len(text) <= 5 else 0
    return name, number if number <= HIGHEST else 0


class AppPort:
    """The port of one environment with the variables ``environment``.

    ``is_own``: any free one, because the app is not the only one of its kind here.
    """

    def __init__(self, environment: Mapping[str, str], is_own: bool = False) -> None:
        self._name, self._named = named_port(environment)
        self._is_unclear = not self._named and bool(environment.get(self._name))  # the runtime says what is wrong
        self._is_own = is_own
        self._held: HeldPort | None = None
        self.number = 0
        self.variables: dict[str, str] = {}
        """The variables that tell the function its port; none, as on Lambda, for the usual one."""

    @property
    def is_chosen(self) -> bool:
        """Whether another port would do."""
        return self._is_own or not (self._named or self._is_unclear)

    def choose(self) -> str:
        """Hold a port until ``release``; a sentence when it is not the expected one.

        Raises ``LocalFailure`` when another run of Fairlead holds the port that it has to be.
        """
        self.release()
        if self._is_own:
            self._take(hold_free())
            return ""
        if not self.is_chosen:
            return self._named_one()
        usual = hold(DEFAULT_APP_PORT)
        if usual and is_free(DEFAULT_APP_PORT):
            self._held, self.number, self.variables = usual, DEFAULT_APP_PORT, {}
            return ""
        if usual:
            usual.release()
        self._take(hold_free())
        return f"port {DEFAULT_APP_PORT} is taken on this machine, so the app gets PORT={self.number}"

    def choose_again(self) -> str:
        """Hold another port, because somebody listens on this one; returns a sentence about it."""
        taken = self.number
        self.release()
        self._take(hold_free())
        return f"port {taken} was taken before the app could open it, so the app gets {self._name}={self.number}"

    def release(self) -> None:
        """Let others have the port."""
        if self._held:
            self._held.release()
            self._held = None

    def _take(self, held: HeldPort) -> None:
        self._held, self.number = held, held.number
        self.variables = {self._name: str(held.number)}

    def _named_one(self) -> str:
        self.number = self._named or DEFAULT_APP_PORT
        self._held = hold(self._named) if self._named else None
        if not self._named:
            return ""
        if self._held is None:
            raise LocalFailure(
                f"another run of Fairlead on this machine has port {self._named}, which {self._name} names: give this "
                f"app another, ENV='{self._name}={self._other()}', or leave {self._name} out, and a free one is chosen"
            )
        if is_free(self._named):
            return ""
        return (
            f"port {self._named}, which {self._name} names, is in use on this machine, so the app cannot open it: "
            f"ENV='{self._name}={self._other()}' gives it another"
        )

    def _other(self) -> int:
        free = hold_free()
        free.release()
        return free.number
