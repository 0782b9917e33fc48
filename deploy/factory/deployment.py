"""The steps of a deployment, run or printed."""

from deploy.factory.console import HIDDEN, Console
from deploy.factory.errors import FactoryError
from deploy.factory.host import Host
from deploy.factory.image import NAME, Image, build, build_command, docker, find_image
from deploy.factory.image_transfer import ImageTransfer, choose_compressor, transfer
from deploy.factory.options import DeployOptions, read_script
from deploy.factory.payload import Payload
from deploy.factory.payload_archive import to_archive
from service.settings import ServerSettings

STEPS = 4
IMAGE_ID = ("docker", "image", "inspect", "--format", "{{.Id}}")


class Deployment:
    """A deployment of one image to one host.

    Args:
        options: What to deploy, and how.
        host: Where to deploy it.
        settings: Where the service listens: its port and address decide what the host publishes.
        payload: Settings, files and keys for the container.
        console: Where progress is printed.
    """

    def __init__(
        self, options: DeployOptions, host: Host, settings: ServerSettings, payload: Payload, console: Console
    ) -> None:
        self._options = options
        self._host = host
        self._settings = settings
        self._payload = payload
        self._console = console

    def run(self) -> None:
        """Deploy.

        Raises:
            FactoryError: If a step fails; the host then keeps or restores the previous container.
        """
        self._console.step(f"{self._host.target}: check the host")
        with self._host:
            platform, compression = self._preflight()  # an unusable host is reported before an image is built
            image = self._provide_image()
            self._console.step(f"transfer {image.tag}")
            if platform != image.platform:
                raise FactoryError(f"{self._host.target} is {platform}, but the image is for {image.platform}")
            self._transfer(ImageTransfer(image.tag, choose_compressor(compression)), image)
            self._print_payload()
            self._replace(image)

    def print_plan(self) -> None:
        """Print the commands of a deployment without running them."""
        image = Image(self._options.image or NAME, "<id>")
        plan = ImageTransfer(image.tag, "zstd")
        command = self._console.command
        self._console.step(f"{self._host.target}: check the host")
        command(self._host.script_command(read_script("preflight")), stdin="deploy/factory/preflight.sh")
        self._console.step(self._options.image_step)
        if self._options.image is None:
            command(build_command(self._options.build_arguments))
        command(["docker", "image", "inspect", image.reference])
        self._console.step(f"transfer {image.tag}, unless the host has it")
        command(self._host.command(*IMAGE_ID, image.tag))
        command(["docker", "image", "tag", image.reference, image.tag])
        command(plan.save, plan.compress, self._host.command(*plan.load))
        self._print_payload()
        arguments = self._options.replace_arguments(image.tag, self._settings)
        command(
            self._host.script_command(read_script("replace"), *arguments),
            stdin="deploy/factory/replace.sh, then the payload above",
        )
        self._console.detail("dry run: nothing was changed")

    def _preflight(self) -> tuple[str, str]:
        """Return the host's platform and the compression that it can unpack."""
        status, lines = self._host.run_script(read_script("preflight"))
        if status != 0 or len(lines) < 2:
            raise FactoryError(f"{self._host.target}: {self._console.redact(' '.join(lines[-1:]))}")
        return lines[-2], lines[-1]  # the login shell may have printed something before

    def _provide_image(self) -> Image:
        self._console.step(self._options.image_step)
        if self._options.image is None:
            build(self._options.build_arguments)
        return find_image(self._options.image or NAME)

    def _transfer(self, image_transfer: ImageTransfer, image: Image) -> None:
        if self._host.succeeds(*IMAGE_ID, image.tag):
            self._console.detail("the host has this image already")
            return
        docker("image", "tag", image.reference, image.tag)
        with self._console.progress(f"{image.size / 1e6:.0f} MB with {image_transfer.compressor}:") as on_bytes:
            transfer(image_transfer, self._host, on_bytes)

    def _print_payload(self) -> None:
        self._console.step(f"start it as {self._options.container}")
        for name, value in sorted(self._payload.variables.items()):
            self._console.detail(f"variable {name}={value}")
        for name in sorted(self._payload.secrets):
            self._console.detail(f"secret {name.upper()}={HIDDEN}")
        for key in self._payload.keys:
            self._console.detail(f"key {key.name}")
        if self._payload.ignored:
            self._console.detail(f"ignored (not settings of the service): {', '.join(self._payload.ignored)}")

    def _replace(self, image: Image) -> None:
        arguments = self._options.replace_arguments(image.tag, self._settings)
        archive = to_archive(self._payload)
        try:
            status, lines = self._host.run_script(
                read_script("replace"), *arguments, stdin=archive, on_line=self._console.detail
            )
        except (FactoryError, KeyboardInterrupt) as err:
            cause = self._console.redact(str(err)) or "interrupted"
            raise FactoryError(f"{cause}; the host completes the replacement or rolls it back; run this again") from err
        if status != 0:
            reason = self._console.redact(" ".join(lines[-1:]))
            raise FactoryError(f"{self._options.container} was not replaced: {reason}")
