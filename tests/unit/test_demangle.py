from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbflash.loaders.demangle import demangled


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("HAL_Delay", "HAL_Delay"),
        ("_Z9spi_writePKhj", "spi_write(unsigned char const*, unsigned int)"),
        ("_ZL8send_cmdh", "send_cmd(unsigned char)"),
        ("_ZN5Flash4waitEv", "Flash::wait()"),
        ("_ZplRK1AS1_", "operator+(A const&, A const&)"),
        ("_Z", "_Z"),
        ("_ZN12_GLOBAL__N_15xferEv", "_ZN12_GLOBAL__N_15xferEv"),
        ("_ZZ4Initv", "_ZZ4Initv"),
        ("_Z4N9pxDFp", "_Z4N9pxDFp"),
        ("_ZN" + "1a" * 50000 + "E", "_ZN" + "1a" * 50000 + "E"),
    ],
)
def test_names_of_cpp_are_shown_as_in_the_source(name: str, shown: str) -> None:
    assert demangled(name) == shown


@given(st.text("_ZNKLSTIEPRCDxvijhcb0123456789\x00é ", max_size=60))
def test_whatever_a_damaged_file_names_its_symbols_is_some_name(text: str) -> None:
    assert isinstance(demangled(f"_Z{text}"), str)
