# SPDX-License-Identifier: LGPL-2.1-or-later
# The usual commands, thin over meson and ninja. `make help` lists them.
BUILD  ?= build
PREFIX ?= /usr/local
# A prefix of its own has its own etc.
SYSCONFDIR ?= $(if $(filter /usr /usr/local,$(PREFIX)),/etc,$(PREFIX)/etc)

.PHONY: all deps demo check check-power bench bench-ram bench-disk bench-libvirt bench-store install uninstall clean help

all: $(BUILD)/build.ninja ## build vmckpt in build/
	@ninja -C $(BUILD)

$(BUILD)/build.ninja:
	@meson setup $(BUILD) || { echo "Is a package missing? 'make deps' installs them (packages.txt)." >&2; exit 1; }

deps: ## install the packages of packages.txt that are missing (as root)
	@tests/tools/install-packages

demo: deps all ## the main job on a small guest: checkpoint, kill, restore elsewhere
	@examples/demo.sh $(BUILD)

check: deps ## build, also with sanitizers, and run every test
	@tests/run

check-power: deps all ## a host in a virtual machine is shut down, and its power is cut: some 20 minutes
	@BUILD=$(BUILD) tests/power/check-power

bench: bench-ram bench-disk bench-libvirt bench-store ## all that is compared with others

bench-ram: deps all ## checkpoints and restores beside QEMU's and libvirt's own; BENCH="--quick …" for its options
	@mkdir -p $(BUILD)/bench
	@tests/bench/ram $(BENCH) --build $(BUILD) --json $(BUILD)/bench/ram.json --svg $(BUILD)/bench

bench-disk: deps all ## disks of checkpoints beside qemu-img, libvirt's backups, borg, restic
	@mkdir -p $(BUILD)/bench
	@tests/bench/disk $(BENCH) --build $(BUILD) --json $(BUILD)/bench/disk.json

bench-libvirt: deps all ## live domains of libvirt beside virsh save, managedsave and snapshots
	@mkdir -p $(BUILD)/bench
	@tests/bench/libvirt $(BENCH) --build $(BUILD) --json $(BUILD)/bench/libvirt.json

bench-store: deps all ## the store beside restic, borg, casync, zstd
	@tests/bench/store --build $(BUILD)

install: all ## install under PREFIX (below DESTDIR)
	@meson configure $(BUILD) --prefix "$(PREFIX)" --sysconfdir "$(SYSCONFDIR)"
	@DESTDIR="$(DESTDIR)" meson install -C $(BUILD)

uninstall: ## remove what the last install put there; changed configuration stays
	@DESTDIR="$(DESTDIR)" vmckpt/systemd/config-files uninstall "$(PREFIX)/share/vmckpt/default" "$(SYSCONFDIR)"
	@ninja -C $(BUILD) uninstall

clean: ## remove what was built; downloaded packages (.cache/) stay
	@rm -rf $(BUILD) build-asan build-tsan

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16
