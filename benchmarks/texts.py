"""Answers as models write them: Markdown without an end, in tokens."""

import itertools
import re
import time
from collections.abc import Iterator

_TOKEN = re.compile(r"\s*\w{1,5}|\s*[^\w\s]|\s+")

_PROSE = """\
## Part {n}: what the garden needs

A garden that is **watered in the evening** loses less to the sun, and *what is lost* is lost at
noon. The [measurements](https://example.com/garden/{n}) say `{n}.4 l` a day; that is little, and
it is enough where the soil is deep. Whoever plants late waters more, for the roots stay short.

1. Loosen the soil a hand deep, and **remove the stones**.
2. Mix in compost: a bucket for each square metre, more where sand is.
   - It holds water for `{n}` days.
   - It brings worms, and they do the rest.
3. Cover it with straw before the summer.

> Nobody has ever regretted a tree, an old gardener said, only that it was planted so late.

In short: _depth before breadth_, shade before water, and patience before all of it. The rest is a
matter of taste, of the place, and of the years that one has.

"""

_CODE = """\
Round {n} reads the file once and keeps a sum for each name:

```python
import csv
from collections import defaultdict
from pathlib import Path

LIMIT_{n} = 1_000


class Ledger:
    \"\"\"Sums by name. Refuses what is no number.\"\"\"

    def __init__(self, path: Path, *, limit: int = LIMIT_{n}) -> None:
        self.path = path
        self.limit = limit
        self.sums: dict[str, float] = defaultdict(float)

    def read(self) -> int:
        count = 0
        with self.path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                try:
                    amount = float(row["amount"].replace(",", ""))
                except (KeyError, ValueError) as error:
                    raise SystemExit(f"row {{count + 1}}: {{error}}") from error
                self.sums[row["name"].strip().lower()] += amount
                count += 1
                if count >= self.limit:  # enough for one round
                    break
        return count

    def largest(self, many: int = 10) -> list[tuple[str, float]]:
        return sorted(self.sums.items(), key=lambda item: -item[1])[:many]


if __name__ == "__main__":
    ledger = Ledger(Path("ledger-{n}.csv"))
    print(f"{{ledger.read()}} rows")
    for name, amount in ledger.largest():
        print(f"{{name:>20}} {{amount:12.2f}}")
```

What it costs, by the number of rows:

| rows | seconds | memory | what is slow |
|-----:|--------:|-------:|:-------------|
| 1,000 | 0.{n} | 12 MB | starting **Python** |
| 10,000 | 0.{n}4 | 12 MB | `csv.DictReader` |
| 100,000 | 1.{n} | 13 MB | `csv.DictReader` |
| 1,000,000 | 14.{n} | 13 MB | the same, and [the disk](https://example.com/{n}) |

The page asks for it like this:

```ts
interface Sum {{ name: string; amount: number }}

export async function sums(round: number, most = 10): Promise<Sum[]> {{
  const answer = await fetch(`/sums/${{round}}?most=${{most}}`, {{ cache: 'no-store' }});
  if (!answer.ok) throw new Error(`round ${{round}}: ${{answer.status}}`);
  const found = (await answer.json()) as Sum[];
  return found.filter(({{ amount }}) => amount > 0).toSorted((a, b) => b.amount - a.amount);
}}
```

"""


def prose() -> Iterator[str]:
    """Headings, paragraphs, lists and quotes."""
    return _tokens(_PROSE)


def code() -> Iterator[str]:
    """Blocks of code, and tables between them."""
    return _tokens(_CODE)


def stamps() -> Iterator[str]:
    """The time at which each is taken."""
    while True:
        yield f"{time.monotonic():.6f} "


def messages() -> Iterator[str]:
    """Questions and answers in turn, each other answer with code."""
    for n in itertools.count(1):
        yield f"How did part {n} go on?"
        yield (_PROSE if n % 2 else _CODE).format(n=n)


def _tokens(text: str) -> Iterator[str]:
    for n in itertools.count(1):
        yield from _TOKEN.findall(text.format(n=n))
