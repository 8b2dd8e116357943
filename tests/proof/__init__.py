"""The proof: whole Windows machines laid out, genuine binaries run on them, what was seen judged.

`scenarios` reads what is to be seen, `wheels` and `dlls` get the genuine parts, `machines` lays
them out in a Wine prefix, `running` runs a Python there and reads the loader's own trace, `judging`
compares, `results` holds what came of it and shows it.
"""
