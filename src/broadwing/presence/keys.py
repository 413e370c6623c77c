"""Keys as applications give them: ids of any kind."""

from typing import Any

from broadwing.core.codec import ENCODE_ERRORS, decode, encode, unencodable


def key_of(key: Any) -> str:
    """A key's string form: a string itself, of anything else its JSON text, without the quotes where it has some.

    Raises:
        LocalProtocolError: It has no JSON form.
    """
    if isinstance(key, str):
        return key
    try:
        text = encode(key)
    except ENCODE_ERRORS as error:
        raise unencodable(error) from error
    value = decode(text)
    return value if isinstance(value, str) else text.decode()
