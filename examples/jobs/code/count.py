"""Counts the words of every text file in a folder."""

import sys
from collections import Counter
from pathlib import Path

for page in sorted(Path(sys.argv[1]).glob("*.txt")):
    words = Counter(page.read_text(encoding="utf-8").lower().split())
    print(f"{page.name}: {words.total()} words, most common: {words.most_common(3)}")
