"""Package metadata.

Mininet is not listed under ``install_requires``: its launcher ``mnexec`` is
native and comes with the distribution's ``mininet`` package. ``make install``
puts both kinds in place and links the distribution's mininet into the virtual
environment. Versions are pinned in constraints.txt.
"""

from setuptools import find_packages, setup

setup(
    name="mrc-testbed",
    version="0.1.0",
    description="An emulated multi-plane SRv6 Clos to run, break and measure MRC on",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(
        include=["testbed*", "controllers*", "topologies*", "workloads*"]
    ),
    package_data={"topologies": ["presets/*.yaml"], "testbed.fabric": ["*.bpf.c", "*.h"],
                  "testbed.analysis": ["*.html", "*.css"],
                  "testbed.drills": ["library/*.yaml"]},
    install_requires=[
        "eventlet",
        "Jinja2",
        "matplotlib",
        "ml_dtypes",
        "numpy",
        "pandas",
        "paramiko",
        "pyarrow",
        "pyroute2",
        "PyYAML",
        "ryu==4.34",
        "zlib-ng",
    ],
    extras_require={
        "dev": ["hypothesis", "ipykernel", "mypy", "nbclient", "nbformat", "pytest",
                "pytest-timeout", "pytest-xdist", "ruff", "scapy", "types-PyYAML",
                "types-paramiko"],
    },
    entry_points={"console_scripts": ["testbed=testbed.cli.main:main"]},
)
