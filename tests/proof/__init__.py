"""The proof: whole Windows machines laid out, genuine binaries run on them, what was seen judged.

`scenarios` reads what is to be seen, `parts` gets the genuine wheels and DLLs, `disks` and
`machines` lay them out in a Wine prefix and run a Python there, `proving` compares the loader's own
trace with the wanted, `results` holds what came of it and shows it.
"""
