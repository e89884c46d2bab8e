"""How arguments become a key, and a schema a hash. Pure."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import msgspec

from performance.caching.errors import UnusableArgument

_encoder = msgspec.msgpack.Encoder(order="deterministic")


def digest(family: str, arguments: tuple[Any, ...]) -> str:
    """Return 32 hexadecimal digits that stand for `arguments`, told apart by type.

    The encoding is canonical (sorted sets and mappings), never repr() or hash(), so it is the same
    in every process. UnusableArgument for what has no canonical form.
    """
    try:
        encoded = _encoder.encode(arguments)
    except (TypeError, OverflowError, msgspec.MsgspecError) as error:
        raise UnusableArgument(family, repr(arguments), str(error)) from None
    return hashlib.blake2b(encoded, digest_size=16).hexdigest()


def edge_tag(tag: str) -> str:
    """Return a tag as headers and purges write it: what would end or split a header is quoted.

    >>> edge_tag("event:a b")
    'event:a%20b'
    """
    return quote(tag, safe=":/-_.")


def schema_hash(schema: Any) -> str:
    """Return 8 hexadecimal digits that change when the fields of `schema` do.

    After a deploy that changes a struct, old entries are under other keys and simply miss.
    """
    described = msgspec.json.encode(msgspec.json.schema(schema), order="sorted")
    return hashlib.blake2b(described, digest_size=4).hexdigest()


def is_immutable(schema: Any) -> bool:
    """Return whether values of `schema` may be handed to many callers from one place in memory."""
    return _immutable(msgspec.inspect.type_info(schema))


_ATOMS = (
    msgspec.inspect.NoneType,
    msgspec.inspect.BoolType,
    msgspec.inspect.IntType,
    msgspec.inspect.FloatType,
    msgspec.inspect.StrType,
    msgspec.inspect.BytesType,
    msgspec.inspect.DateTimeType,
    msgspec.inspect.DateType,
    msgspec.inspect.TimeType,
    msgspec.inspect.TimeDeltaType,
    msgspec.inspect.DecimalType,
    msgspec.inspect.UUIDType,
    msgspec.inspect.EnumType,
    msgspec.inspect.LiteralType,
)


def _immutable(kind: msgspec.inspect.Type) -> bool:
    if isinstance(kind, _ATOMS):
        return True
    if isinstance(kind, msgspec.inspect.Metadata):
        return _immutable(kind.type)
    if isinstance(kind, msgspec.inspect.UnionType):
        return all(map(_immutable, kind.types))
    if isinstance(kind, msgspec.inspect.VarTupleType):
        return _immutable(kind.item_type)
    if isinstance(kind, msgspec.inspect.TupleType):
        return all(map(_immutable, kind.item_types))
    if isinstance(kind, msgspec.inspect.StructType):
        frozen: bool = kind.cls.__struct_config__.frozen
        return frozen and all(_immutable(field.type) for field in kind.fields)
    return False


def declared(name: str, loader: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a loader whose arguments can all be given by position."""
    signature = inspect.signature(loader)
    for parameter in signature.parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            raise UnusableArgument(
                name,
                str(signature),
                f"{parameter.name!r} is not a declared positional argument, and only those "
                "make a key",
            )
    return signature


def defaults(signature: inspect.Signature) -> tuple[Any, ...]:
    """Return the defaults of the last parameters, in order: what a shorter call leaves out."""
    given = [parameter.default for parameter in signature.parameters.values()]
    return tuple(default for default in given if default is not inspect.Parameter.empty)
