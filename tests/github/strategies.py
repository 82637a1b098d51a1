"""Text as an attacker who may name a service would choose it."""

from __future__ import annotations

from hypothesis import strategies as st

BREAK_OUTS = [
    "``` \n</details><img src=x onerror=alert(1)> @acme/everyone fixes #1",
    "`` ` `` <script>alert(1)</script>",
    "-->\n<!-- pdsync:v1 key=00 rec= -->",
    "</summary></details>\n\n# heading\n\n[click](javascript:alert(1))",
    "| cell | @octocat |\n|---|---|",
    "![image](https://example.com/x.png)",
    "<https://example.com> https://example.com www.example.com",
    "\u202etxt.exe\u2066 zero\u200bwidth",
    "\\` \\| \\<b>",
    "~~~\n<b>",
    "`" * 40,
    "`" * 80,
    f"<b>{'`' * 300}<b>",
    " ",
    "",
    "```diff\n- x\n```",
    "&lt;b&gt; &#60;b&#62;",
    "::error::owned",
    "##[add-path]/tmp",
    "\r\n::set-output name=x::y",
]

hostile = st.one_of(
    st.sampled_from(BREAK_OUTS),
    st.lists(st.sampled_from([*"`<>|*_#@[]()!\\~-\n\r:&;", "a", "😀", "é", *BREAK_OUTS]), max_size=30).map("".join),
    st.text(max_size=60),
)
