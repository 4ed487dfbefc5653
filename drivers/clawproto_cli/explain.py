"""What stores and drivers raise, as failures of a command."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import cast

from clawproto import errors
from clawproto_cli.failures import Exit, Failure, undecided
from clawproto_io import GenerationConflict, StoreError


@contextmanager
def explained() -> Generator[None]:
    """Turns what stores and drivers raise into a `Failure`."""
    try:
        yield
    except Exception as error:
        first = _first(error)
        if isinstance(first, Failure):
            raise first from None
        if not isinstance(first, _KNOWN):
            raise
        raise _failure(first) from None


_KNOWN = (errors.ClawProtoError, StoreError, GenerationConflict)


def _first(error: Exception) -> Exception:
    """The error itself, out of the groups that task groups put around it."""
    return (
        _first(cast("ExceptionGroup[Exception]", error).exceptions[0]) if isinstance(error, ExceptionGroup) else error
    )


def _failure(error: BaseException) -> Failure:
    match error:
        case errors.LoggedOut() | errors.NotPaired():
            return Failure(Exit.NOT_PAIRED, str(error))
        case errors.SendRejected():
            return Failure(
                Exit.REFUSED, str(error), chat_id=error.chat_id, message_id=error.message_id, code=error.code
            )
        case errors.SendGated():
            return Failure(
                Exit.REFUSED,
                str(error),
                chat_id=error.chat_id,
                code=error.code,
                retry_after_ms=error.retry_after_ms,
            )
        case errors.SendUndecided():
            return undecided(error.chat_id, error.message_id)
        case errors.PairRefused():
            if error.code is None:
                exit_code = Exit.UNREACHED if error.spent == "no" else Exit.UNDECIDED
            else:
                exit_code = Exit.REFUSED
            return Failure(exit_code, f"{error}{_CODE_IS[error.spent]}", code=error.code, spent=error.spent)
        case errors.RotationUnsaved() | StoreError() | GenerationConflict():
            return Failure(Exit.STORE, str(error))
        case _:
            return Failure(Exit.FAILED, str(error))


_CODE_IS = {
    "yes": "; the code is used up: ask for a new one",
    "no": "; the code was not used",
    "unknown": "; the code may be used up: ask for a new one",
}
