"""What GitHub would make of Markdown: elements, and the text that stands outside code."""

from __future__ import annotations

from html.parser import HTMLParser

from cmarkgfm import github_flavored_markdown_to_html
from cmarkgfm.cmark import Options


class Seen(HTMLParser):
    """Elements and attributes of rendered Markdown; `loose` is the text outside code, `code` that inside, in order."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.loose = ""
        self.code: list[str] = []
        self.stack: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.stack.append(tag)
        if tag == "code":
            self.code.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag, f"{tag} closes what it did not open"

    def handle_comment(self, data: str) -> None:
        self.elements.add(f"<!--{data}-->")

    def handle_data(self, data: str) -> None:
        if "code" in self.stack:
            self.code[-1] += data
        else:
            self.loose += data


def seen(markdown: str) -> Seen:
    """Markdown rendered as GitHub does, raw HTML let through so that it shows."""
    return Seen(
        github_flavored_markdown_to_html(markdown, Options.CMARK_OPT_UNSAFE | Options.CMARK_OPT_GITHUB_PRE_LANG)
    )
