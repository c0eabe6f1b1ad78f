"""What schemathesis must not send: headers that are none (RFC 9110 section 5.5) are refused by HTTP itself, in its own words."""

import schemathesis


@schemathesis.hook
def filter_headers(context, headers):
    return all(character.isprintable() for value in (headers or {}).values() for character in str(value))
