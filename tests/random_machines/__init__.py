"""Random Windows machines: each imports a small cv2; what happens is compared with a short rule.

`drawing` makes a machine from a seed, `expecting` says what has to happen on it,
`running` lays it out on drive C: of Wine and runs it, `judging` compares.
"""
