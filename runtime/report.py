"""Faults and exceptions as Lambda's error documents, and as what X-Ray shows of them
(https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html#runtimes-api-invokeerror).

Of an exception in the user's code the managed Python runtime posts class, text and stack, and so does this. What that
runtime leaves out follows after the stack: notes, causes, the members of a group. What it leaves in by mistake is not
there: the runtime's own frames and the import system's.

Nothing here can be made to fail by what the user's exceptions do, and no part of a report is unbounded.
"""

from __future__ import annotations

import posix

from .errors import Fault, InitFault, InvocationFault
from .json_codec import dumps, dumps_ascii, loads
from .standard import standard_library
from .values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import FrameType, TracebackType
    from typing import TypeVar

    AnyFault = TypeVar("AnyFault", bound=Fault)


# Error documents go through the same 6 MB gate as answers, and a log reader has to find the reason in them.
MESSAGE_LIMIT = 16 * 1024
# What the user's code says may be meant for a program, which needs all of it. In Managed Instances documents of 1 MiB
# and more are refused; a character takes at most four bytes.
USER_TEXT_LIMIT = 100_000
EXCEPTIONS_LIMIT = 20  # in one report: causes have causes, and groups have members
# The platform crops it to 64 KiB, and HTTP servers have limits for headers too.
XRAY_LIMIT = 60 * 1024
XRAY_MESSAGE_LIMIT = 8 * 1024
XRAY_FRAMES = 100  # of each exception, from both ends of the stack
XRAY_REFUSED = 1024 * 1024  # where the managed runtime sends none at all


def error_document(fault: Fault, request_id: str = "") -> bytes:
    """The JSON that is posted for ``fault``: the managed Python runtime's four keys, in its order."""
    return fault.document or dumps(document_of(fault, request_id))


def document_of(fault: Fault, request_id: str = "") -> dict[str, object]:
    """Returns the document of a fault, before it is JSON."""
    return {
        "errorMessage": message_of(fault),
        "errorType": fault.name or fault.error_type,
        "requestId": request_id,
        "stackTrace": list(fault.stack),
    }


def message_of(fault: Fault) -> str:
    """The message that is posted."""
    message = f"{fault.message}\n{fault.detail}" if fault.detail else fault.message
    return message[: USER_TEXT_LIMIT if fault.name else MESSAGE_LIMIT]


def xray_cause(fault: Fault) -> str:
    """The value of the field that tells X-Ray what happened: one line of printable ASCII, or nothing."""
    if fault.name:
        return fault.xray_cause
    message = fault.message[:XRAY_MESSAGE_LIMIT]
    return dumps_ascii(_xray_document([{"message": message, "type": "LambdaValidationError", "stack": []}]))


def internal_fault(error: BaseException) -> InvocationFault:
    """Returns the fault that an exception of our own code is reported as."""
    return InvocationFault("Runtime.Internal", f"{name_of(error)}: {text_of(error)} (a fault in Fairlead)")


def trace_of(error: BaseException) -> str:
    """The traceback as text."""
    with standard_library:  # all of it: source lines are read with modules that are imported then
        import traceback  # 2-9 ms, needed only when something is broken

        return "".join(traceback.format_exception(error))


def user_fault(kind: type[AnyFault], error: BaseException, error_type: str = "", message: str = "") -> AnyFault:
    """A fault of class ``kind`` for an exception in the user's code.

    ``error_type`` is for exceptions that have a meaning to the runtime, such as an ``ImportError`` at import; all
    others are posted under their class's name, with ``Function.<Name>`` in the header.
    """
    name = error_type or name_of(error)
    fault = kind(error_type or header_name(name), message or text_of(error))
    fault.name = name
    try:
        exceptions = list(_related(error))
        fault.stack = tuple(_stack_lines(exceptions))
        fault.xray_cause = _xray_cause(exceptions)
    except Exception as failure:  # of an attribute that is a property, of a source file that is a device, ...
        fault.stack = (f"(the stack cannot be shown: {name_of(failure)})\n",)
    return fault


def header_name(name: str) -> str:
    """``Function.<Name>``, in letters: the platform keeps ``(Runtime|Function).[A-Z][a-zA-Z]+`` and nothing else."""
    letters = "".join(character for character in name if character.isascii() and character.isalpha())[:100]
    return f"Function.{letters[0].upper()}{letters[1:]}" if len(letters) > 1 else "Function.Unknown"


def error_type_of(name: str) -> str:
    """The header's value for an error of that name: one of the platform's own names stays as it is."""
    family, _, rest = name.partition(".")
    is_the_platforms = family == "Runtime" and len(rest) > 1 and rest.isascii() and rest.isalpha() and rest[0].isupper()
    return name if is_the_platforms else header_name(name)


def name_of(error: BaseException) -> str:
    """The name of the exception's class, without its module, as the managed runtime has it."""
    name: str = type.__dict__["__name__"].__get__(type(error))  # a metaclass may have a ``__name__`` of its own
    return name


def text_of(error: BaseException) -> str:
    """``str(error)``, or what traceback says when that fails."""
    try:
        return str(error)
    except Exception:
        return "<exception str() failed>"


class _Exception(NamedTuple):
    """One exception of a report: what it has to do with the first one ("" for that), and what can be told of it."""

    relation: str
    name: str
    text: str
    notes: tuple[str, ...]
    frames: list[tuple[str, int, str, str]]  # path, line number, function, source line; the innermost call last


def _related(error: BaseException) -> Iterator[_Exception]:
    """The exception, and those that it has to do with, each once."""
    waiting = [("", error)]
    seen: set[int] = set()
    while waiting and len(seen) < EXCEPTIONS_LIMIT:
        relation, one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield _Exception(relation, name_of(one), text_of(one), _notes(one), frames_of(one.__traceback__))
        if one.__cause__ is not None:
            waiting.append(("Caused by", one.__cause__))
        elif one.__context__ is not None and not one.__suppress_context__:
            waiting.append(("Raised while handling", one.__context__))
        if isinstance(one, BaseExceptionGroup):
            members = [(f"Member {number}", member) for number, member in enumerate(one.exceptions, 1)]
            waiting += reversed(members)


def _notes(error: BaseException) -> tuple[str, ...]:
    notes = getattr(error, "__notes__", None)
    return tuple(note for note in notes if isinstance(note, str)) if isinstance(notes, list) else ()


def frames_of(trace: TracebackType | None) -> list[tuple[str, int, str, str]]:
    """Path, line number, function and source line of each call in the user's code, the innermost last."""
    with standard_library:
        import traceback  # 3-9 ms, needed only when something was raised

    walked = [(frame, line) for frame, line in traceback.walk_tb(trace) if not _is_machinery(frame)]
    while walked and walked[0][0].f_globals.get("__package__") == "asyncio":
        del walked[0]  # how we call an ``async def``; further in it is the user who calls asyncio
    with standard_library:  # source lines are read with modules that are imported then
        summaries = traceback.StackSummary.extract(iter(walked))
    return [(item.filename, item.lineno or 0, item.name, item.line or "") for item in summaries]


def _is_machinery(frame: FrameType) -> bool:
    """Whether the frame is Fairlead's own or the import system's."""
    package = frame.f_globals.get("__package__") or ""
    is_ours = package.partition(".")[0] == __package__
    return is_ours or package == "importlib" or frame.f_code.co_filename.startswith("<frozen importlib")


def _stack_lines(exceptions: list[_Exception]) -> Iterator[str]:
    """The strings of ``stackTrace``: first those that the managed runtime has, then what it leaves out."""
    with standard_library:
        import traceback

    room = USER_TEXT_LIMIT
    for one in exceptions:
        heading = [f"{one.relation}: {one.name}: {one.text}"] if one.relation else []
        notes = [f"Note: {note}" for note in one.notes]
        # The notes of the first exception come after its frames: those are what readers of the stack expect at 0.
        before, after = (heading + notes, []) if one.relation else ([], notes)
        for text in [*before, *traceback.format_list(one.frames), *after]:
            room -= len(text)
            if room < 0:
                yield "(the rest is left out: it is too long)\n"
                return
            yield text if text.endswith("\n") else f"{text}\n"


def _xray_cause(exceptions: list[_Exception]) -> str:
    cause = ""
    if sum(len(one.text) for one in exceptions) >= XRAY_REFUSED:
        return cause
    for limit in (XRAY_FRAMES, 20, 4, 0):
        paths = [path for one in exceptions for path, *_ in _ends(one.frames, limit)]
        cause = dumps_ascii(_xray_document([_xray_exception(one, limit) for one in exceptions], paths))
        if len(cause) <= XRAY_LIMIT:
            return cause
    first = exceptions[0]
    return dumps_ascii(_xray_document([{"message": first.text[:1000], "type": first.name[:1000], "stack": []}]))


def _xray_exception(one: _Exception, limit: int) -> dict[str, object]:
    stack = [{"label": function, "path": path, "line": line} for path, line, function, _ in _ends(one.frames, limit)]
    return {"message": one.text[:XRAY_MESSAGE_LIMIT], "type": one.name, "stack": stack}


def _xray_document(described: list[dict[str, object]], paths: Iterable[str] = ()) -> dict[str, object]:
    return {"working_directory": _working_directory(), "exceptions": described, "paths": list(dict.fromkeys(paths))}


def _ends(frames: list[tuple[str, int, str, str]], limit: int) -> list[tuple[str, int, str, str]]:
    """At most ``limit`` frames: where the trouble was entered, and where it broke out."""
    return frames if len(frames) <= limit else frames[: limit // 2] + frames[len(frames) - limit // 2 :]


def _working_directory() -> str:
    try:
        return posix.getcwd()
    except OSError:  # removed
        return ""


# ---- what keeps a file from being executed ---------------------------------------------------------------------------
#
# What keeps a file from being executed, in words. Looked at when it could not be: for the message, and only then.


S_IFMT, S_IFREG, S_IFDIR = 0o170000, 0o100000, 0o040000  # inode(7)
HEAD_SIZE = 4096
# elf(5): the field e_machine, and the header of a program that names its loader.
MACHINES = {3: "i386", 40: "arm", 62: "x86_64", 183: "aarch64"}
PT_INTERP = 3
LIBRARIES_LIMIT = 20  # of those that a message names: so many are looked at


def obstacle(path: str) -> str:
    """Why ``path`` cannot be executed on this machine, as a clause; "" when nothing is seen that speaks against it."""
    try:
        mode = posix.stat(path).st_mode
    except (OSError, ValueError) as error:
        return f"{path}: {getattr(error, 'strerror', '') or error}"
    if mode & S_IFMT != S_IFREG:
        return f"{path} is {'a folder' if mode & S_IFMT == S_IFDIR else 'not a file'}"
    if not posix.access(path, posix.X_OK):
        return f"{path} is not executable (chmod +x it)"
    head = _head(path)
    reason = ""
    if head.startswith(b"#!"):
        reason = _of_script(head)
    elif head.startswith(b"\x7fELF"):
        reason = _of_program(head)
    return f"{path} {reason}" if reason else ""


def foreign_libraries(words: str) -> str:
    """A sentence for each native library that ``words`` name and that is for another processor; "": there is none.

    The C library says of such a file that it does not exist (``cannot open shared object file``).
    """
    if ".so" not in words and ".node" not in words:
        return ""
    with standard_library:
        import re  # only when a start has failed

    paths = dict.fromkeys(re.findall(r"(/[^\s:'\"]+\.(?:so|node)\b[^\s:'\"]*)", words))
    heads = ((path, _head(path)) for path in list(paths)[:LIBRARIES_LIMIT])
    return "".join(f". {path} {_machine_of(head)}" for path, head in heads if _is_foreign(head))


def is_script(path: str) -> bool:
    """Whether the file is a text, which shells run by themselves if it has no ``#!``."""
    head = _head(path)
    return bool(head) and not head.startswith(b"\x7fELF") and b"\0" not in head


def _head(path: str) -> bytes:
    try:
        descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK)
    except OSError:
        return b""
    try:
        return posix.read(descriptor, HEAD_SIZE)
    except OSError:
        return b""
    finally:
        posix.close(descriptor)


def _of_script(head: bytes) -> str:
    line = head[2:].partition(b"\n")[0]
    interpreter = line.split(maxsplit=1)[0].decode("utf-8", "replace") if line.strip() else ""
    if line.endswith(b"\r"):
        return "has lines that end with CR LF: save it with LF alone"
    if not interpreter or _is_there(interpreter):
        return ""
    return f"is run by {interpreter}, which is not there"


def _of_program(head: bytes) -> str:
    if _is_foreign(head):
        return _machine_of(head)
    loader = _loader(head).decode("utf-8", "replace")
    return f"needs {loader}, which is not there" if loader and not _is_there(loader) else ""


def _is_foreign(head: bytes) -> bool:
    return head.startswith(b"\x7fELF") and MACHINES.get(_number(head)) != posix.uname().machine


def _machine_of(head: bytes) -> str:
    number = _number(head)
    machine = MACHINES.get(number, f"machine {number}")
    return f"is built for {machine}, and this function runs on {posix.uname().machine}"


def _number(head: bytes) -> int:
    return int.from_bytes(head[18:20], "little")


def _loader(head: bytes) -> bytes:
    """The path of the program's loader, of a 64-bit ELF file; empty when it has none, or not in ``head``."""
    first, size, count = (int.from_bytes(head[at:end], "little") for at, end in ((32, 40), (54, 56), (56, 58)))
    for at in range(first, first + size * count, size or 1):
        entry = head[at : at + size]
        if int.from_bytes(entry[:4], "little") == PT_INTERP:
            begin, length = int.from_bytes(entry[8:16], "little"), int.from_bytes(entry[32:40], "little")
            return head[begin : begin + length].rstrip(b"\0")
    return b""


def _is_there(path: str) -> bool:
    try:
        posix.stat(path)
    except (OSError, ValueError):
        return False
    return True


# ---- what a JavaScript host says when it cannot serve ----------------------------------------------------------------
#
# What a host of ours says when it cannot serve: the last line of stderr of the form that host.mjs gives it.


_MARK = "Init Error\t{"
# What Deno says by itself, where it does not let the host speak, and what the host would have said.
_STUCK = "Top-level await promise never resolved"
_STUCK_MESSAGE = (
    "the handler's module awaits something at its top level that does not come, and nothing is left to do that could"
    " bring it"
)


def init_fault_of(words: str) -> InitFault | None:
    """The fault that the last words of a host tell of, if they do: the error has its own name."""
    line = words.rpartition(_MARK)[2].partition("\n")[0]
    if _MARK not in words:
        return InitFault("Runtime.NodeJsExit", _STUCK_MESSAGE) if _STUCK in words else None
    try:
        document = loads(("{" + line).encode())
    except ValueError:  # cut short
        return None
    if not isinstance(document, dict):
        return None
    name, message, trace = (document.get(key) for key in ("errorType", "errorMessage", "trace"))
    if not (isinstance(name, str) and isinstance(message, str) and isinstance(trace, list)):
        return None
    foreign = foreign_libraries(message)
    fault = InitFault(error_type_of(name), message + foreign)
    fault.name = name
    fault.document = dumps(document | {"errorMessage": message + foreign}) if foreign else ("{" + line).encode()
    return fault
