"""Batch inference over the files of the shipped working directory: which language is each page?"""

import collections
import json
import pathlib

PROFILES = {
    "english": "the and that of to in is was he for it with as his on be at by had not",
    "german": "der die und in den von zu das mit sich des auf für ist im dem nicht ein",
    "french": "de la le et les des en un du une que est pour qui dans a par plus pas au",
    "latin": "et in est non ad ut cum quod sed si qui ab ex aut nec enim per esse hoc",
}


def score(text: str, profile: str) -> float:
    words = collections.Counter(text.lower().split())
    total = sum(words.values()) or 1
    return sum(words[word] for word in profile.split()) / total


counts: collections.Counter[str] = collections.Counter()
for page in sorted(pathlib.Path("pages").glob("*.txt")):
    text = page.read_text(encoding="utf-8")
    scores = {name: score(text, profile) for name, profile in PROFILES.items()}
    language = max(scores, key=scores.__getitem__)
    counts[language] += 1
    print(f"{page.name}: {language} ({scores[language]:.2f})", flush=True)
pathlib.Path("result.json").write_text(json.dumps(counts))
print(f"{sum(counts.values())} pages: {dict(counts)}")
