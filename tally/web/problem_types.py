"""What can be wrong with a request: a type of problem for each, as RFC 9457 has it, with a page of its own.

A type is named by the path of its page, its title is constant, and what is special to a request stands in `detail`.
Pure data, one list of them all, and longer for that than other modules; problems.py makes answers of it, and
problem_pages.py the pages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Where the pages of the problem types are.
PATH = "/problems/"


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A type of problem: its name in the URI, the status of its answers, its title, what it means and what to do."""

    name: str
    status: int
    title: str
    meaning: str
    remedy: str

    @property
    def path(self) -> str:
        """Return the path of its page."""
        return PATH + self.name

    @property
    def reason(self) -> str:
        """Return its name as a label of a metric."""
        return self.name.replace("-", "_")


def problem_members(type_: ProblemType, detail: str | None = None, **members: Any) -> dict[str, Any]:
    """Return problem details as they stand in JSON; a member that is None is left out."""
    body = {"type": type_.path, "title": type_.title, "status": type_.status, "detail": detail, **members}
    return {name: value for name, value in body.items() if value is not None}


class ProblemError(Exception):
    """Raised where a request cannot be answered otherwise: the type of the problem, and the sentence for this one."""

    def __init__(
        self,
        type_: ProblemType,
        detail: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(f"{type_.title}: {detail}" if detail else type_.title)
        self.type, self.detail = type_, detail
        self.headers = dict(headers or {})
        self.members = members


class WrongParameters(ProblemError):
    """Parameters of a request that are wrong, each with the sentence that says what would be right."""

    def __init__(self, wrong: Sequence[tuple[str, str]]) -> None:
        errors = [{"parameter": parameter, "detail": detail} for parameter, detail in wrong]
        sentences = "; ".join(f"{parameter}: {detail}" for parameter, detail in wrong)
        super().__init__(INVALID_PARAMETERS, sentences, errors=errors)
        self.wrong = tuple(wrong)


# Of any request.

MALFORMED_REQUEST = ProblemType(
    "malformed-request",
    400,
    "The request is malformed",
    "What was sent is not HTTP/1.1, so the connection was closed.",
    "Look at what speaks to this address: it may be TLS where plain HTTP is expected, or another protocol.",
)
HEAD_TOO_LARGE = ProblemType(
    "request-head-too-large",
    431,
    "The request's head is too large",
    "The request line and the headers, or the trailers, have more bytes than the server reads.",
    "Send fewer or shorter headers, cookies above all.",
)
TOO_MANY_PIPELINED = ProblemType(
    "too-many-pipelined-requests",
    429,
    "Too many requests were sent ahead",
    "Too many requests were sent on one connection before the first of them was answered.",
    "Wait for answers before sending more, or use several connections.",
)
NO_SUCH_PATH = ProblemType(
    "no-such-path",
    404,
    "There is nothing at this path",
    "No endpoint, page or file has this path.",
    "Use one of the paths that the answer lists; paths are case-sensitive and do not end with a slash.",
)
METHOD_NOT_ALLOWED = ProblemType(
    "method-not-allowed",
    405,
    "This path does not take the method",
    "There is something at this path, but not for this HTTP method.",
    "Use one of the methods in the header Allow.",
)
NOT_ACCEPTABLE = ProblemType(
    "not-acceptable",
    406,
    "No form of the answer is acceptable",
    "The header Accept allows none of the media types in which the answer can be given.",
    "Send an Accept header with one of the types that the answer lists, or none at all.",
)
TOKEN_NEEDED = ProblemType(
    "token-needed",
    401,
    "A token is needed",
    "The server is set to ask for a bearer token, and the request has none or a wrong one.",
    "Send the header Authorization: Bearer TOKEN, with the value of TALLY_API_TOKEN (the api) or of "
    "TALLY_INGEST_TOKEN (an http source).",
)
CROSS_SITE_REQUEST = ProblemType(
    "cross-site-request",
    403,
    "Refused to a page of another site",
    "A browser sent the request for a page of an origin that is not allowed.",
    "If that page should have access, add its origin to TALLY_CORS_ORIGINS (the api) or TALLY_INGEST_CORS_ORIGINS (an "
    "http source).",
)
HOST_NOT_ALLOWED = ProblemType(
    "host-not-allowed",
    421,
    "Asked by a name that is not allowed",
    "The header Host has a name that is not known to belong to this server. A page of another site could use such a "
    "name to reach it through somebody's browser (DNS rebinding).",
    "If the name is right, add it to TALLY_ALLOWED_HOSTS (the api) or TALLY_INGEST_ALLOWED_HOSTS (an http source); the "
    "port for metrics is asked by a name of loopback while it listens there.",
)
REDIS_UNAVAILABLE = ProblemType(
    "redis-unavailable",
    503,
    "Redis is unavailable",
    "Redis does not answer, or cannot be written to.",
    "Ask again after as many seconds as the header Retry-After says. If it lasts, look at the service's log, which "
    "says where it looks for Redis and what happens there.",
)
REDIS_REFUSES = ProblemType(
    "redis-refuses",
    503,
    "Redis refuses",
    "Redis answers, and refuses what is asked of it: for a password, a permission, or data of another format.",
    "It will not pass by itself: change what `detail` and the service's log name.",
)
NOT_READY = ProblemType(
    "not-ready",
    503,
    "The service is not ready",
    "Redis answers, but this service does not do all of its work: it is starting, stopping, or something it needs is "
    "not there, as a file of a source or a port.",
    "Wait while it starts. If it lasts, `detail` says what is missing, and the service's log why.",
)
INTERNAL_ERROR = ProblemType(
    "internal-error",
    500,
    "Internal error",
    "Something failed that should not, which is a bug.",
    "The service's log has the traceback; please report it.",
)

# Of the api.

INVALID_PARAMETERS = ProblemType(
    "invalid-parameters",
    422,
    "Parameters are wrong",
    "One or more parameters are unknown, given twice, not readable, or contradict each other.",
    "`errors` names each of them and says what would be right.",
)
NEVER_COUNTED = ProblemType(
    "never-counted",
    404,
    "The name was never counted",
    "No event that was counted has this type, or this word.",
    "Look for it with /v1/types?q= or /v1/words?q=. Case matters, and words are cut as TALLY_WORD_PATTERN says.",
)
WORDS_NOT_BY_TYPE = ProblemType(
    "words-not-by-type",
    404,
    "Words are not counted by this type",
    "Words were asked for by type, or types by word, and no words are counted by type, or not those of this type.",
    "Set TALLY_WORDS_BY_TYPE, to a number of types or to their names, and run `tally layout --accept` with it: from "
    "then on their words are counted apart, too. `words_by_type` of /v1/stats says how many have that.",
)
CURSOR_GONE = ProblemType(
    "cursor-gone",
    410,
    "The list is no longer held",
    "A cursor leads on in a list as it was when its first page was read. The api holds that list in its memory for a "
    "minute after each page, and less long if it needs the memory for others. It is gone, or another api holds it.",
    "Begin again with cursor=*, and ask for each page within a minute. Where several apis answer at one address, see "
    "that the same one is asked for all pages. As CSV or NDJSON without a limit a list comes whole, in one answer.",
)
TAKES_NO_EVENTS = ProblemType(
    "api-takes-no-events",
    405,
    "The api takes no events",
    "The api only answers questions; events are sent to the ingestor.",
    "Run `tally ingest http://127.0.0.1:9000` and POST to http://127.0.0.1:9000/events.",
)
TOO_MUCH_ASKED = ProblemType(
    "too-much-asked",
    503,
    "Too much is asked for at once",
    "The answer takes more memory or time than there is beside the other answers that are being made.",
    "Ask again after as many seconds as the header Retry-After says, or for a shorter time range. "
    "TALLY_MAX_SNAPSHOT_BYTES is how much memory answers may take.",
)

# Of what is posted: events to an http source, questions to the api.

MALFORMED_BODY = ProblemType(
    "malformed-body",
    400,
    "The body is not JSON",
    "The body is no JSON in UTF-8, or ends in the middle.",
    "Send the JSON that `detail` describes, whole.",
)
EMPTY_BODY = ProblemType(
    "empty-body",
    400,
    "The body is empty",
    "The request has no body, or one without any byte.",
    "Send lines of JSON objects, one object, or an array of objects.",
)
UNREADABLE_BODY = ProblemType(
    "unreadable-body",
    400,
    "The body cannot be decompressed",
    "The body is not what Content-Encoding says, or ends in the middle.",
    "Compress it whole, and name the encoding in Content-Encoding.",
)
NOT_EVENTS = ProblemType(
    "not-events",
    400,
    "The body is not JSON of events",
    "The body is neither a JSON object nor an array of objects, or is malformed. Nothing of it was taken.",
    "Send lines of JSON objects, one object, or an array of objects; `detail` says where it stops being that.",
)
BAD_IDEMPOTENCY_KEY = ProblemType(
    "bad-idempotency-key",
    400,
    "The Idempotency-Key is malformed",
    "The header Idempotency-Key is empty or too long.",
    "Send a key of 1 to 255 characters, a UUID for example.",
)
IDEMPOTENCY_KEY_REUSED = ProblemType(
    "idempotency-key-reused",
    422,
    "The Idempotency-Key was used for another body",
    "A key belongs to one body and its retries. Nothing of this body was taken.",
    "Make a new key for each body, and send a body that is retried as it was.",
)
BODY_TOO_SLOW = ProblemType(
    "body-too-slow",
    408,
    "The body came too slowly",
    "The body stopped coming, or took too long as a whole. Nothing of it was taken.",
    "Send it without long pauses, or less at once; for an http source TALLY_MAX_BODY_SECONDS is how long a body may "
    "take.",
)
BODY_TOO_LARGE = ProblemType(
    "body-too-large",
    413,
    "The body is too large",
    "The body has too many bytes, before or after decompression, too many lines, or too many compressed parts. "
    "Nothing of it was taken.",
    "Send less at once, or for an http source raise TALLY_MAX_BODY_BYTES or TALLY_MAX_BODY_LINES.",
)
UNSUPPORTED_BODY = ProblemType(
    "unsupported-body",
    415,
    "The kind of body is not supported",
    "The media type, charset or content encoding is none that is read.",
    "Send UTF-8 as one of the media types in the answer's header Accept: to an http source plain or as gzip, zstd or "
    "deflate, to the api plain.",
)
STREAM_FULL = ProblemType(
    "stream-full",
    429,
    "The stream is full",
    "As many blocks wait to be counted as may: the aggregators are behind. Nothing of the body was taken.",
    "Send it again after as many seconds as the header Retry-After says. If it lasts, run more aggregators, or look "
    "with `tally status` whether any is alive.",
)
APPENDS_HELD = ProblemType(
    "appends-held",
    429,
    "Appends are held",
    "Somebody reads or changes all that is stored, as an export does, and has nothing added meanwhile. Nothing of the "
    "body was taken.",
    "Send it again after as many seconds as the header Retry-After says. `tally status` says which command it is, and "
    "since when.",
)
TOO_MUCH_SENT = ProblemType(
    "too-much-sent",
    429,
    "Too much is being sent at once",
    "The bodies that are being received take as much memory as they may. Nothing of this body was taken.",
    "Send it again after as many seconds as the header Retry-After says, over fewer connections.",
)

#: All of them, by name.
ALL: dict[str, ProblemType] = {each.name: each for each in list(globals().values()) if isinstance(each, ProblemType)}
