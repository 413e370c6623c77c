"""Where a payload does not fit a type, as msgspec says it."""


def explain(error: str) -> tuple[str, str]:
    """Take the text of a `ValidationError` apart.

    Args:
        error: Such as ``Expected `str`, got `int` - at `$.body` ``.

    Returns:
        The field, as a path such as `body` or `users[0].name`, empty for the payload itself; and what is wrong with it.
    """
    message, _, where = error.partition(" - at `")
    field = where.rstrip("`").removeprefix("$").removeprefix(".")
    if message.startswith(("Object missing required field", "Object contains unknown field")):
        name = message.split("`")[1]
        field = f"{field}.{name}" if field else name
    return field, message
