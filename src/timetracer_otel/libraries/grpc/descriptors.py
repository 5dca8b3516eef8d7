"""The names of fields, where somebody has loaded the descriptors of a method's messages: the app's own stubs do.

Messages tell no names. With these, a secret is found by its name as well, and a message is shown as its ``.proto``
has it. Nothing is loaded for that.
"""

from __future__ import annotations

import sys
from typing import Any, Final

from timetracer_otel.libraries.grpc.wire import encoded, readable
from timetracer_otel.redact.redactor import Redactor

__all__ = ["shown", "types_of", "without_secrets"]

_POOL: Final = "google.protobuf.descriptor_pool"
_TEXTS: Final = (9, 12)
"""The types of fields that hold a text or bytes (``google.protobuf.descriptor.FieldDescriptor``)."""


def types_of(service: str, name: str) -> list[str] | None:
    """The full names of the messages of a method: of the app's, and of the server's; None where nobody knows them."""
    try:
        method = sys.modules[_POOL].Default().FindMethodByName(f"{service}.{name}")
    except KeyError:
        return None
    return [method.input_type.full_name, method.output_type.full_name]


def without_secrets(tree: Any, name: str, redactor: Redactor) -> Any:
    """A message with the fields replaced whose names are those of secrets. The same object where there are none."""
    descriptor = _descriptor(name)
    return tree if descriptor is None else _replaced(tree, descriptor, redactor)


def shown(tree: Any, name: str | None) -> Any:
    """A message for eyes: with the names of its fields, or with their numbers and its size."""
    descriptor = None if name is None else _descriptor(name)
    if descriptor is None:
        return f"{len(encoded(tree))} bytes {readable(tree)}"
    return _named(tree, descriptor)


def _descriptor(name: str) -> Any:
    try:
        return sys.modules[_POOL].Default().FindMessageTypeByName(name)
    except KeyError:
        return None


def _replaced(tree: Any, descriptor: Any, redactor: Redactor) -> Any:
    if not isinstance(tree, list):
        return tree
    made = []
    key = tree[0][1] if _is_map(descriptor) and tree and isinstance(tree[0][1], str) else None
    for tag, value in tree:
        field = descriptor.fields_by_number.get(tag >> 3)
        name = key if key is not None and tag >> 3 == 2 else field.name if field is not None else ""
        if field is not None and redactor.is_secret_field(name):
            changed = _hidden(value, field, name, redactor)
        elif field is not None and field.message_type is not None:
            changed = _replaced(value, field.message_type, redactor)
        else:
            changed = value
        made.append([tag, changed])
    return made if made != tree else tree


def _hidden(value: Any, field: Any, name: str, redactor: Redactor) -> Any:
    """A secret value. It stays one of its type on the wire."""
    if field.type in _TEXTS:
        # The bytes of a text may have been taken for a message.
        data = encoded(value)
        try:
            return redactor.secret(data.decode(), name)
        except UnicodeDecodeError:
            return redactor.secret(data, name)
    if field.message_type is not None and isinstance(value, list):
        fields = field.message_type.fields_by_number
        return [
            [tag, _hidden(each, fields[tag >> 3], name, redactor) if tag >> 3 in fields else each]
            for tag, each in value
        ]
    return 0 if isinstance(value, int) else bytes(len(value))


def _is_map(descriptor: Any) -> bool:
    return bool(descriptor.GetOptions().map_entry)


def _named(tree: Any, descriptor: Any) -> Any:
    if not isinstance(tree, list):
        return tree
    made: dict[Any, Any] = {}
    for tag, value in tree:
        field = descriptor.fields_by_number.get(tag >> 3)
        if field is None:
            made.setdefault(tag >> 3, []).append(readable(value))
        else:
            made.setdefault(field.name, []).append(_value(value, field))
    return {name: values[0] if len(values) == 1 else values for name, values in made.items()}


def _value(value: Any, field: Any) -> Any:
    if field.message_type is not None:
        return _named(value, field.message_type)
    if field.type in _TEXTS and isinstance(value, list):
        data = encoded(value)
        return data if field.type == _TEXTS[1] else data.decode(errors="replace")
    if field.enum_type is not None and isinstance(value, int):
        found = field.enum_type.values_by_number.get(value)
        return value if found is None else found.name
    return value
