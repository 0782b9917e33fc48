"""The steps of a deployment, done or only told."""

from deploy.factory.console import HIDDEN, Report
from deploy.factory.errors import FactoryError
from deploy.factory.host import Host
from deploy.factory.image import NAME, Image, build, build_command, docker, look_at
from deploy.factory.image_transfer import Shipping, compressor_of, ship
from deploy.factory.options import Order, script
from deploy.factory.payload import Luggage
from deploy.factory.payload_archive import wrap
from service.settings import Settings

STEPS = 4
IS_THERE = ("docker", "image", "inspect", "--format", "{{.Id}}")


class Deployment:
    """One order for one host. settings, luggage: what the service is sent with."""

    def __init__(self, order: Order, host: Host, settings: Settings, luggage: Luggage, report: Report) -> None:
        self._order = order
        self._host = host
        self._settings = settings
        self._luggage = luggage
        self._report = report

    def run(self) -> None:
        """Do it. Raises: FactoryError for the step that failed; the host runs then what it ran before."""
        self._report.step(f"{self._host.target}: look at what is there")
        with self._host:
            platform, unpacks = self._survey()  # a host that cannot be used is found out before an image is built
            image = self._image()
            self._report.step(f"ship {image.tag}")
            if platform != image.platform:
                raise FactoryError(f"{self._host.target} is {platform}, and the image is for {image.platform}")
            self._ship(Shipping(image.tag, compressor_of(unpacks)), image)
            self._tell_luggage()
            self._switch(image)

    def tell(self) -> None:
        """Say the commands, and do nothing."""
        image = Image(self._order.image or NAME, "<id>")
        shipping = Shipping(image.tag, "zstd")
        command = self._report.command
        self._report.step(f"{self._host.target}: look at what is there")
        command(self._host.script_command(script("preflight")), stdin="deploy/factory/preflight.sh")
        self._report.step(self._order.title)
        if self._order.image is None:
            command(build_command(self._order.build_arguments))
        command(["docker", "image", "inspect", image.reference])
        self._report.step(f"ship {image.tag}, unless it is there")
        command(self._host.command(*IS_THERE, image.tag))
        command(["docker", "image", "tag", image.reference, image.tag])
        command(shipping.save, shipping.compress, self._host.command(*shipping.load))
        self._tell_luggage()
        arguments = self._order.switch(image.tag, self._settings)
        command(self._host.script_command(script("replace"), *arguments), stdin="deploy/factory/replace.sh, the above")
        self._report.say("this was a dry run: nothing was done")

    def _survey(self) -> tuple[str, str]:
        """Returns: the host's platform, and what it unpacks."""
        status, lines = self._host.run_script(script("preflight"))
        if status != 0 or len(lines) < 2:
            raise FactoryError(f"{self._host.target}: {self._report.masked(' '.join(lines[-1:]))}")
        return lines[-2], lines[-1]  # a shell that starts may have said something before

    def _image(self) -> Image:
        self._report.step(self._order.title)
        if self._order.image is None:
            build(self._order.build_arguments)
        return look_at(self._order.image or NAME)

    def _ship(self, shipping: Shipping, image: Image) -> None:
        if self._host.succeeds(*IS_THERE, image.tag):
            self._report.say("it is there already")
            return
        docker("image", "tag", image.reference, image.tag)
        with self._report.progress(f"{image.size / 1e6:.0f} MB with {shipping.compressor}:") as advance:
            ship(shipping, self._host, advance)

    def _tell_luggage(self) -> None:
        self._report.step(f"start it as {self._order.container}")
        for name, value in sorted(self._luggage.variables.items()):
            self._report.say(f"variable {name}={value}")
        for name in sorted(self._luggage.secrets):
            self._report.say(f"secret {name.upper()}={HIDDEN}")
        for key in self._luggage.keys:
            self._report.say(f"key {key.name}")
        if self._luggage.left:
            self._report.say(f"not sent, being no settings of the service: {', '.join(self._luggage.left)}")

    def _switch(self, image: Image) -> None:
        arguments = self._order.switch(image.tag, self._settings)
        parcel = wrap(self._luggage)
        try:
            status, lines = self._host.run_script(script("replace"), *arguments, stdin=parcel, tell=self._report.say)
        except (FactoryError, KeyboardInterrupt) as err:
            why = self._report.masked(str(err)) or "interrupted"
            raise FactoryError(
                f"{why}; the host ends the switch by itself, one way or the other: run this again"
            ) from err
        if status != 0:
            raise FactoryError(f"{self._order.container} was not replaced: {self._report.masked(' '.join(lines[-1:]))}")
