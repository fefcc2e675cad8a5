"""The multi-plane Clos as data: nodes, ports, links, names, uSIDs. Pure.

``spec`` says what a fabric may be, ``graph`` writes one out, ``names``, ``usid`` and
``ev`` number its parts, ``numbers`` is the one table of sizes and thresholds, ``draw``
shows it. Presets are the YAML files in ``presets/``, read by ``testbed.intent``.
"""
