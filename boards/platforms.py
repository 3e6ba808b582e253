"""Amaranth's platforms for boards that amaranth-boards lacks, or whose serial port it leaves open."""
from amaranth.build import Attrs, Clock, Pins, Resource, Subsignal
from amaranth.vendor import LatticeECP5Platform
from amaranth_boards.orangecrab_r0_2 import OrangeCrabR0_2_85FPlatform
from amaranth_boards.resources import UARTResource

_LEVEL = Attrs(IO_TYPE="LVCMOS33")


class OrangeCrab85Platform(OrangeCrabR0_2_85FPlatform):
    """Its USB is no serial port: pins 0 (RX) and 1 (TX) are, as on every Feather.

    The bitstream gets no DFU suffix, for which a tool of its own would be needed.
    """

    resources = [*OrangeCrabR0_2_85FPlatform.resources,
                 UARTResource(0, rx="0", tx="1", conn=("io", 0), attrs=_LEVEL)]
    command_templates = LatticeECP5Platform.command_templates


class _ColorlightPlatform(LatticeECP5Platform):
    """A Colorlight module on its extension board, which carries the USB serial port.

    Pins as https://github.com/wuxx/Colorlight-FPGA-Projects documents them.
    """

    package = "BG381"
    speed = "6"
    default_clk = "clk25"
    resources = [
        Resource("clk25", 0, Pins("P3", dir="i"), Clock(25e6), _LEVEL),
        Resource("uart", 0, Subsignal("rx", Pins("H18", dir="i")), Subsignal("tx", Pins("J17", dir="o")),
                 _LEVEL),
    ]
    connectors = []


class ColorlightI5Platform(_ColorlightPlatform):
    device = "LFE5U-25F"


class ColorlightI9Platform(_ColorlightPlatform):
    device = "LFE5U-45F"
