"""What pyproject.toml cannot say: two folders at the top of the repository become part of the package."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["hwloop*"]), "hwloop.arch_specs", "hwloop.mappings"],
    package_dir={"hwloop.arch_specs": "arch_specs", "hwloop.mappings": "mappings"},
    package_data={
        "hwloop": ["py.typed"],
        "hwloop.arch_specs": ["*.yaml"],
        "hwloop.mappings": ["*.yaml"],
        "hwloop.energy": ["data/*.json"],
        "hwloop.report.html": ["*.html", "*.css", "*.js"],
    },
)
