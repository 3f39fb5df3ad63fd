"""Turns the names of public specs, as cases cite them, into links."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Standards whose sections have addresses of their own, or one address for all.
_RFC = re.compile(r"RFC (\d+)(?: ([\d.]+(?:(?:,| and) [\d.]+)*))?")
_CWE = re.compile(r"CWE-(\d+)")
_PLAIN = {
    "WHATWG HTML": "https://html.spec.whatwg.org/multipage/server-sent-events.html",
    "WHATWG URL": "https://url.spec.whatwg.org/",
    "WHATWG Fetch": "https://fetch.spec.whatwg.org/",
    "OWASP ASVS": "https://github.com/OWASP/ASVS/tree/v5.0.0/5.0/en",
    "OpenAI API reference": "https://platform.openai.com/docs/api-reference/chat",
    "nginx ngx_http_proxy_module": "https://nginx.org/en/docs/http/ngx_http_proxy_module.html",
}


@dataclass(frozen=True)
class Reference:
    """A spec as it is cited, and where it can be read; no link for the contract itself."""

    text: str
    link: str = ""


def references(refs: str) -> list[Reference]:
    """Return the links of a citation such as `RFC 6455 5.6 and 8.1, CWE-93`."""
    found = [(match.start(), reference) for match, reference in _matches(refs)]
    return [reference for _, reference in sorted(found, key=lambda pair: pair[0])] or [
        Reference(refs)
    ]


def _matches(refs: str) -> list[tuple[re.Match[str], Reference]]:
    found = []
    for match in _RFC.finditer(refs):
        sections = re.findall(r"[\d.]+", match[2] or "")
        anchor = f"#section-{sections[0]}" if sections else ""
        link = f"https://www.rfc-editor.org/rfc/rfc{match[1]}{anchor}"
        found.append((match, Reference(match[0], link)))
    for match in _CWE.finditer(refs):
        link = f"https://cwe.mitre.org/data/definitions/{match[1]}.html"
        found.append((match, Reference(match[0], link)))
    for name, link in _PLAIN.items():
        for match in re.finditer(rf"{name}[^,;]*(?:, [A-Z][a-z][^,;]*)?", refs):
            found.append((match, Reference(match[0], link)))
    return found
