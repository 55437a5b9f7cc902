"""One small accelerator in both forms, and what the real program made of it with one thing changed at a time.

`FIGURES` holds (cycles, energy per compute [fJ]) that timeloop-model (commit 4cf6d4c) printed; the nodes form went through
upstream's front end first. The specs are hwloop's own.
"""

from __future__ import annotations

PROBLEM = """
problem:
  version: 0.4
  instance: {C: 8, M: 16, R: 3, S: 3, N: 1, P: 14, Q: 14}
  shape:
    name: conv2D
    dimensions: [C, M, R, S, N, P, Q]
    coefficients:
    - {name: Wstride, default: 1}
    - {name: Hstride, default: 1}
    data_spaces:
    - {name: Weights, projection: [[[C]], [[M]], [[R]], [[S]]]}
    - {name: Inputs, projection: [[[N]], [[C]], [[R], [P, Wstride]], [[S], [Q, Hstride]]]}
    - {name: Outputs, projection: [[[N]], [[M]], [[Q]], [[P]]], read_write: True}
"""
TREE = """
architecture:
  version: 0.4
  subtree:
  - name: chip
    attributes: {technology: 45nm, global_cycle_seconds: 1e-9, lanes: 4}
    local:
    - {name: "DRAM[1..1]", class: DRAM, attributes: {width: 64, datawidth: 16}}
    - {name: "glb[1..1]", class: SRAM, attributes: {width: 64, datawidth: 16, depth: 4096}}
    subtree:
    - name: "PE[0..15]"
      attributes: {lanes: 4}
      local:
      - {name: rf, class: regfile, attributes: {width: 16, datawidth: 16, depth: 256}}
      - {name: mac, class: intmac, attributes: {datawidth: 16}}
"""
NODES = """
architecture:
  version: 0.4
  nodes:
  - !Container
    name: chip
    attributes: {technology: '"45nm"', global_cycle_seconds: 1e-9}
  - !Component
    name: DRAM
    class: DRAM
    attributes: {width: 64, datawidth: 16}
  - !Component
    name: glb
    class: SRAM
    attributes: {width: 64, datawidth: 16, depth: 4096}
  - !Container
    name: PE
    spatial: {meshX: 16}
  - !Component
    name: rf
    class: regfile
    attributes: {width: 16, datawidth: 16, depth: 256}
  - !Component
    name: mac
    class: intmac
    attributes: {datawidth: 16}
"""
MAPPING = """
mapping:
- {target: DRAM, type: temporal, factors: "C=1,M=2,R=1,S=1,N=1,P=7,Q=1", permutation: CRSNPQM}
- {target: SPREAD, type: spatial, factors: "C=8,M=2,R=1,S=1,N=1,P=1,Q=1", permutation: CMRSNPQ, split: 7}
- {target: glb, type: temporal, factors: "C=1,M=1,R=1,S=3,N=1,P=2,Q=14", permutation: SQPCRMN}
- {target: rf, type: temporal, factors: "C=1,M=4,R=3,S=1,N=1,P=1,Q=1", permutation: RMCSNPQ}
"""
ENERGIES = {
    "DRAM": {"read": 200.0, "write": 243.0, "update": 243.0},
    "glb": {"read": 12.0, "write": 10.0, "update": 10.0},
    "rf": {"read": 1.2, "write": 1.1, "update": 1.1},
    "mac": {"compute": 0.7},
}
RF = "{width: 16, datawidth: 16, depth: 256}"
GLB = "{width: 64, datawidth: 16, depth: 4096}"
KEEP = "constraints: {dataspace: {%s}}"

# name: (form, replacements in the architecture, replacements in the mapping)
CASES: dict[str, tuple[str, list[tuple[str, str]], list[tuple[str, str]]]] = {
    "tree": ("tree", [], []),
    "nodes": ("nodes", [], []),
    "an attribute equal to the container's counts": (
        "tree",
        [("attributes: {lanes: 4}", "attributes: {datawidth: 8}"), (RF, "{width: 16, datawidth: 8, depth: 256}")],
        [],
    ),
    "a container's attribute is not a component's in the tree": (
        "tree",
        [("attributes: {lanes: 4}", "attributes: {read_bandwidth: 1}")],
        [],
    ),
    "a container's attribute is a component's in the nodes": (
        "nodes",
        [("spatial: {meshX: 16}", "spatial: {meshX: 16}\n    attributes: {read_bandwidth: 1}")],
        [],
    ),
    "also where the component says the same": (
        "nodes",
        [
            ("spatial: {meshX: 16}", "spatial: {meshX: 16}\n    attributes: {datawidth: 8}"),
            (RF, "{width: 16, datawidth: 8, depth: 256}"),
        ],
        [],
    ),
    "what the front end gives every storage stays": (
        "nodes",
        [("global_cycle_seconds: 1e-9}", "global_cycle_seconds: 1e-9, multiple_buffering: 1000}")],
        [],
    ),
    "word_bits comes before datawidth": (
        "tree",
        [(GLB, "{width: 64, datawidth: 16, word_bits: 8, depth: 4096}")],
        [],
    ),
    "hyphenated keywords": (
        "tree",
        [(GLB, "{word-bits: 16, block-size: 2, entries: 4096}")],
        [],
    ),
    "attributes that nobody reads": (
        "tree",
        [(GLB, GLB.replace("}", ", nports: 2, nbanks: 4, read_bandwith: 1}"))],
        [],
    ),
    "the compute component first": (
        "tree",
        [
            ("      - {name: mac, class: intmac, attributes: {datawidth: 16}}\n", ""),
            ("      - {name: rf,", "      - {name: mac, class: intmac, attributes: {datawidth: 16}}\n      - {name: rf,"),
        ],
        [],
    ),
    "a component of another class": (
        "tree",
        [("      - {name: rf,", "      - {name: adder, class: intadder, attributes: {datawidth: 16}}\n      - {name: rf,")],
        [],
    ),
    "instances as an attribute": (
        "tree",
        [
            ('"PE[0..15]"', "PE"),
            (RF, "{width: 16, datawidth: 16, depth: 256, instances: 16}"),
            ("class: intmac, attributes: {datawidth: 16}", "class: intmac, attributes: {datawidth: 16, instances: 16}"),
        ],
        [],
    ),
    "only meshY": (
        "tree",
        [
            (RF, "{width: 16, datawidth: 16, depth: 256, meshY: 16}"),
            ("class: intmac, attributes: {datawidth: 16}", "class: intmac, attributes: {datawidth: 16, meshY: 16}"),
        ],
        [("split: 7", "split: 0")],
    ),
    "a permutation with blanks": ("tree", [], [("permutation: CRSNPQM", "permutation: C RSN PQM"), ("SQPCRMN", "SQP CRMN")]),
    "split on a temporal target": ("tree", [], [("permutation: CRSNPQM", "permutation: CRSNPQM, split: 2")]),
    "keep_only": ("nodes", [("depth: 4096}", "depth: 4096}\n    " + KEEP % "keep_only: [Inputs, Outputs]")], []),
    "bypass_only": ("nodes", [("depth: 4096}", "depth: 4096}\n    " + KEEP % "bypass_only: [Inputs]")], []),
    "!Pipelined": (
        "nodes",
        [
            ("  - !Component\n    name: glb", "  - !Pipelined\n    nodes:\n    - !Component\n      name: glb"),
            ("    class: SRAM\n    attributes: {width: 64", "      class: SRAM\n      attributes: {width: 64"),
        ],
        [],
    ),
    "!Parallel bypasses what another branch keeps": (
        "nodes",
        [
            (
                "  - !Component\n    name: rf\n    class: regfile\n    attributes: {width: 16, datawidth: 16, depth: 256}\n",
                "  - !Parallel\n    nodes:\n"
                "    - !Component {name: wrf, class: regfile, attributes: {width: 16, datawidth: 16, depth: 256},\n"
                "                  constraints: {dataspace: {keep: [Weights]}}}\n"
                "    - !Component {name: rf, class: regfile, attributes: {width: 16, datawidth: 16, depth: 256},\n"
                "                  constraints: {dataspace: {keep: [Inputs, Outputs]}}}\n",
            )
        ],
        [],
    ),
    "factors in the nodes are part of the mapping": (
        "nodes",
        [
            (
                "spatial: {meshX: 16}",
                "spatial: {meshX: 16}\n    constraints: {spatial: {factors: [C=8, M=2, R=1, S=1, N=1, P=1, Q=1],\n"
                "      permutation: [C, M, R, S, N, P, Q], split: 7}}",
            )
        ],
        [('- {target: SPREAD, type: spatial, factors: "C=8,M=2,R=1,S=1,N=1,P=1,Q=1", permutation: CMRSNPQ, split: 7}\n', "")],
    ),
    "a target by its node and an order completed in front": (
        "nodes",
        [("spatial: {meshX: 16}", "spatial: {meshX: 8, meshY: 2}")],
        [("permutation: CMRSNPQ, split: 7", "permutation: CM, split: 6")],
    ),
}

FIGURES = {  # cycles, fJ per compute
    "tree": (14112, 11914.19),
    "nodes": (14112, 11914.19),
    "an attribute equal to the container's counts": (14112, 8985.91),
    "a container's attribute is not a component's in the tree": (14112, 11914.19),
    "a container's attribute is a component's in the nodes": (40768, 11914.19),
    "also where the component says the same": (14112, 8985.91),
    "what the front end gives every storage stays": (14112, 11914.19),
    "word_bits comes before datawidth": (14112, 10238.31),
    "hyphenated keywords": (14112, 15265.94),
    "attributes that nobody reads": (14112, 11914.19),
    "the compute component first": (14112, 11914.19),
    "a component of another class": (14112, 11914.19),
    "instances as an attribute": (14112, 11914.19),
    "only meshY": (14112, 11914.19),
    "a permutation with blanks": (14112, 11914.19),
    "split on a temporal target": (14112, 11914.19),
    "keep_only": (14112, 58646.33),
    "bypass_only": (14112, 15018.35),
    "!Pipelined": (14112, 11914.19),
    "!Parallel bypasses what another branch keeps": (14112, 11914.19),
    "factors in the nodes are part of the mapping": (14112, 11914.19),
    "a target by its node and an order completed in front": (14112, 11914.19),
}
