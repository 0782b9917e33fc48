"""Compiles the core into the wheel and reads its version. pyproject.toml declares everything else."""

from runpy import run_path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildPy(build_py):  # type: ignore[misc]  # setuptools has no types
    """Leaves out the script that compiles the core of a checkout."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        """Return the modules of a package, each as (package, module, file)."""
        found: list[tuple[str, str, str]] = super().find_package_modules(package, package_dir)
        return [module for module in found if module[:2] != ("native", "build")]


core = run_path("native/build.py")["extensions"](".py")
for module in core:
    module.optional = True  # services that install only `microkubes` need no compiler
setup(
    # Not declared in pyproject.toml: setuptools would read it from the script service.py instead of the package.
    version=run_path("service/__init__.py")["__version__"],
    ext_modules=core,
    cmdclass={"build_py": BuildPy},
)
