"""Addresses as people write them in settings: host names, IP addresses, URLs. Pure."""

import ipaddress
import re
from urllib.parse import urlsplit

_LABEL = "[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
HOST_NAME = rf"({_LABEL}\.)*{_LABEL}\.?"
"""A name in lower case. No standard allows the underscore, but names of containers have it."""

NO_URL = "it is not a URL; write http:// or https://, a host, and optionally a port and a path"


def is_ip_address(host: str) -> bool:
    """True for an IPv4 address, and for an IPv6 address without brackets."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """True if only this machine reaches `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def web_address(address: str) -> str:
    """Return an http or https URL that paths can be appended to.

    Raises `ValueError`, whose text does not repeat the address: it may contain a password.
    """
    try:
        url = urlsplit(address)
        host = (url.hostname or "").encode("idna").decode()
        has_port = url.port != 0
    except ValueError:
        raise ValueError(NO_URL) from None
    if url.scheme not in {"http", "https"} or not has_port or len(address.split()) != 1:
        raise ValueError(NO_URL)
    if not is_ip_address(host) and not re.fullmatch(HOST_NAME, host.lower()):
        raise ValueError(NO_URL)
    if "@" in url.netloc:
        raise ValueError("it must not contain a user name or a password")
    if "?" in address or "#" in address:
        raise ValueError("it must end with the path, without ? or #")
    return address
