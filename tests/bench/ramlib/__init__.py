# SPDX-License-Identifier: LGPL-2.1-or-later
"""Parts of tests/bench/ram: guests, peers, what is measured, and how it is shown."""
