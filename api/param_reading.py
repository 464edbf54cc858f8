"""How a request's parameters are read, and everything that is wrong with them is found at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Annotated, Any, TypeVar, get_origin

from fastapi import Depends, Query, Request
from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from api.moments import UNREADABLE
from tally.web.problem_types import WrongParameters


class _NeverNull:
    """Says in the OpenAPI document that a parameter may be left out, not that it may be null: nothing in a query is."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        found = handler(schema)
        given = [each for each in found.pop("anyOf") if each != {"type": "null"}]
        return {**(given[0] if len(given) == 1 else {"anyOf": given}), **found}


_T = TypeVar("_T")

#: A parameter that may be left out.
Optional = Annotated[_T | None, _NeverNull()]


class Strict(BaseModel):
    """Parameters that are not known are errors: a slip of the pen must not give the wrong answer."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    def contradictions(self, *, now: float) -> Iterator[tuple[str, str]]:
        """Yield parameters that are wrong beside the others, or at this moment, and what would be right."""
        del now
        return iter(())


def given(model: type[Strict]) -> Any:
    """Return the dependency with which a route takes these parameters.

    Of a parameter that is given twice FastAPI would leave one out without a word, so that is an error, too.
    """

    async def expect(request: Request) -> None:
        request.state.expected = model  # for also_wrong, which is asked when some of them cannot be read

    async def read(request: Request, _: None, parameters: Any) -> Any:
        if wrong := _repeated(request) | _contradicting(request, parameters):
            raise WrongParameters(list(wrong.items()))
        return parameters

    read.__annotations__ = {
        "request": Request,
        "_": Annotated[None, Depends(expect)],
        "parameters": Annotated[model, Query()],
    }
    return Depends(read)


def known_parameters(request: Request) -> list[str]:
    """Return the names of the parameters that the path of this request takes."""
    model: type[Strict] | None = getattr(request.state, "expected", None)
    return [] if model is None else [field.alias or name for name, field in model.model_fields.items()]


def also_wrong(request: Request, unreadable: Collection[str]) -> dict[str, str]:
    """Return the parameters that are wrong besides those that cannot be read, and what would be right."""
    return _repeated(request) | _contradicting_among(request, unreadable)


def _contradicting(request: Request, parameters: Strict) -> dict[str, str]:
    """Return the first thing that is wrong with each parameter beside the others."""
    found: dict[str, str] = {}
    for name, right in parameters.contradictions(now=request.app.state.clock.time()):
        found.setdefault(name, right)
    return found


def _contradicting_among(request: Request, unreadable: Collection[str]) -> dict[str, str]:
    """Return what is wrong with those that can be read beside the others."""
    model: type[Strict] | None = getattr(request.state, "expected", None)
    if model is None:
        return {}
    given: dict[str, Any] = {name: value for name, value in request.query_params.items() if name not in unreadable}
    given |= {name: request.query_params.getlist(name) for name in _repeatable(request) & given.keys()}
    try:
        parameters = model.model_validate(given)
    except ValidationError:  # one that is needed is missing, or cannot be read
        return {}
    for name, field in model.model_fields.items():
        if (field.alias or name) in unreadable and field.default is None:
            setattr(parameters, name, UNREADABLE)  # it is given, and neither before nor after anything
    return _contradicting(request, parameters)


def _repeatable(request: Request) -> set[str]:
    """Return the parameters of this path that may be given several times: those that are lists."""
    model: type[Strict] | None = getattr(request.state, "expected", None)
    fields = {} if model is None else model.model_fields
    return {field.alias or name for name, field in fields.items() if get_origin(field.annotation) is list}


def _repeated(request: Request) -> dict[str, str]:
    """Return the parameters that are given several times and should not be, and what would be right."""
    times, repeatable = Counter(name for name, _ in request.query_params.multi_items()), _repeatable(request)
    return {
        name: f"it was given {count} times; give it once"
        for name, count in times.items()
        if count > 1 and name not in repeatable
    }
