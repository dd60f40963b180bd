"""``python -m m3search.demo``: the demo's documents as JSONL on standard output, to build or train something else with them."""

import json
import sys

from m3search.demo.corpus import stdlib_documents

for document in stdlib_documents():
    fields = {"id": document.id, "title": document.title, "text": document.text, "metadata": dict(document.metadata)}
    sys.stdout.write(json.dumps(fields) + "\n")
