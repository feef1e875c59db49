# The commands of this checkout; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: help deps deps-bench deps-bill image keys drydock empty-initrd cloud host check check-image check-reproducible test test-qemu soak bench demo workshop refresh update rollback release FORCE
.DEFAULT_GOAL := help

# What images are built for; all else is for this host. What is built on the way to them is not mixed.
arch := $(or $(ARCH),x86_64)
ifeq ($(filter x86_64 aarch64,$(arch)),)
$(error ARCH=$(ARCH): images are built for x86_64 and aarch64)
endif
foreign := $(filter-out x86_64,$(arch))
build := target/image$(if $(foreign),-$(foreign))
packages := dist/packages$(if $(foreign),-$(foreign)).txt

musl := target/$(arch)-unknown-linux-musl
parts := $(build)/parts
# What makes archives of directories, with the zstd of the tree of packages.
pack := target/image/parts.stamp image/pack image/from-parts $(wildcard image/initramfs/src/*)
# One program each, for firmware that boots by HTTP; with SIGN also one that only your own machines trust.
unified := $(foreach system,sunshineos herculesos,$(foreach form,all $(if $(SIGN),signed),dist/$(system)-$(arch)-$(form).efi))
versions := dist/sunshineos-$(arch).versions dist/herculesos-$(arch).versions
arches := $(or $(ARCHES),x86_64)
bills := dist/sunshineos-$(arch).spdx.json dist/herculesos-$(arch).spdx.json
# What the firmware of a Raspberry Pi loads over TFTP.
boards := $(if $(foreign),$(build)/raspberry-pi.stamp)
# What machines start from a CD or a stick; with PIN also one that knows whom to trust, and with SIGN that one is signed.
medium := $(if $(SIGN),signed,$(if $(PIN),pinned))
media := $(if $(foreign),,$(foreach system,sunshineos herculesos,dist/$(system)-x86_64.iso $(if $(medium),dist/$(system)-x86_64-$(medium).iso)))
# The agents take longest: what only the packages of Debian need gives way to cargo, and goes on while that optimises an agent,
# which takes one processor. One job more, since who fetches mostly waits.
beside := nice
at_once = $(if $(filter -j%,$(MAKEFLAGS)),,--jobs=$(shell expr $$(nproc) + 1))
# Only the images are built side by side: somebody else's -j would build a tree for two goals at once.
ifneq ($(MAKECMDGOALS),dist/SHA256SUMS)
.NOTPARALLEL:
endif
scripts := $(shell grep -rl '^#!/bin/bash' scripts image .ci)

help: ## lists the commands
	@sed -n 's/^\([a-z-]*\):.*## /\1: /p' Makefile

deps: ## installs what the others need, on Debian 12 and 13
	@scripts/deps $(if $(filter aarch64,$(arch) $(arches)),aarch64)

deps-bill: deps ## installs what bills of materials are validated with
	@scripts/deps-bill

deps-bench: deps ## installs what `make bench` is compared with: AREA=imaging, AREA=wiping
	@scripts/deps-bench

image: ## builds dist/; ARCH=aarch64: for 64-bit Arm; SIGN=DIRECTORY PIN=sha256:…: signed too; MIRROR=ADDRESS: packages from there
	@$(MAKE) --no-print-directory $(at_once) dist/SHA256SUMS
	@$(if $(media),for old in $(filter-out $(media),$(wildcard dist/*.iso)); do echo "image: $$old is that of an earlier build"; done)
	@image/check-image $(arch)
	@image/check-unified $(arch) "$(SIGN)" "$(PIN)"
	@$(if $(media),image/check-media "$(SIGN)" "$(PIN)" $(media),:)
	@image/settle $(if $(SIGN),signed)

update: ## builds dist/ anew where Debian has newer packages; the server serves it to the next boot without a restart
	@newer=$$(image/newer$(if $(foreign), && { [ ! -e $(parts)/files ] || image/fetch-parts $(parts) newer; })); if [ -n "$$newer" ]; then echo "$$newer"; rm -f target/image*/parts.stamp; else echo 'image: Debian has nothing newer'; fi
	@$(MAKE) --no-print-directory image

release: deps-bill ## writes dist/release: tarball, Debian package and OCI image; ARCHES="x86_64 aarch64"
	@for arch in $(arches); do $(MAKE) --no-print-directory ARCH=$$arch image drydock dist/drydock-$$arch.spdx.json || exit 1; done
	@image/release/make $(arches)
	@image/release/check $(arches)

rollback: ## has the next boot get the images of the build before this one
	@image/settle back

keys: target/image/parts.stamp ## makes your own keys for Secure Boot; KEYS=DIRECTORY
	image/make-keys $(or $(KEYS),keys)

drydock: dist/drydock-$(arch) ## builds the server alone

refresh: ## has the next image built from the newest Debian packages
	rm -f target/image*/parts.stamp

# The tree of Debian packages: built once, then only when its description changes or after `make refresh`.
target/image/parts.stamp: mkosi.conf image/build-tree
	$(beside) image/build-tree .
	touch $@

# What the tools of that tree make of another architecture's packages.
target/image-aarch64/parts.stamp: image/fetch-parts image/debian-sources target/image/parts.stamp
	@scripts/deps aarch64
	mkdir -p $(@D)
	image/fetch-parts $(@D)/parts
	touch $@

target/image-aarch64/vmlinuz: image/wrap-kernel target/image-aarch64/parts.stamp $(wildcard image/unpacker/Cargo.* image/unpacker/src/* image/unify/src/*)
	image/wrap-kernel

# Core and store are indexed together, so that a machine knows of every driver, whether it has it or not.
$(build)/union.stamp: image/select-modules $(build)/parts.stamp $(pack) $(wildcard image/modules/* image/store/*.list)
	$(beside) image/select-modules $(arch) $$PWD/$(parts)/usr/lib/modules/* $$PWD/$(build)/union image/modules/*.list image/store/*.list
	touch $@

# Modules change seldom and the agent often: the initramfs is two compressed archives in a row, the agent's first, so that it can
# say what is missing where the rest is cut off; then what a report needs. Both systems have the same core.
$(build)/modules.cpio.zst: $(build)/union.stamp $(wildcard image/store/src/* crates/modules/src/*)
	$(beside) cargo run --quiet --locked --package store --target-dir target -- divide $(build)
	$(beside) image/pack $(build)/modules $@ /modules. /net/

dist/pack-$(arch)/cards: $(build)/modules.cpio.zst image/publish
	$(beside) image/publish $(arch)
	touch $@

# What machines report of their image, and `drydock version` of those that it serves.
$(build)/sunshineos.versions: $(build)/modules.cpio.zst $(musl)/agent/sunshine $(packages) image/versions
	image/versions sunshineos $(packages) dist/sunshineos-$(arch).vmlinuz $(build)/modules.cpio.zst $(musl)/agent/sunshine >$@

$(build)/herculesos.versions: $(build)/modules.cpio.zst $(musl)/agent/hercules $(packages) image/versions
	image/versions herculesos $(packages) dist/herculesos-$(arch).vmlinuz $(build)/modules.cpio.zst $(musl)/agent/hercules >$@

dist/%-$(arch).versions: $(build)/%.versions
	mkdir -p $(@D)
	cp $< $@

$(build)/sunshineos.cpio.zst: $(musl)/agent/sunshine $(build)/sunshineos.versions image/pack-system $(pack)
	image/pack-system sunshineos $< $@ target/image/parts/etc/ssl/certs/ca-certificates.crt

$(build)/herculesos.cpio.zst: $(musl)/agent/hercules $(build)/herculesos.versions image/pack-system $(pack)
	image/pack-system herculesos $< $@

$(build)/empty-init.cpio.zst: $(musl)/agent/empty-init image/pack-system $(pack)
	image/pack-system empty-init $< $@

# With every network driver, since nobody adds what one machine needs.
dist/%-$(arch)-all.efi: dist/%-$(arch).initrd $(packages) image/join image/architecture $(wildcard image/unify/src/*)
	image/join $(arch) $* 2048 $@ $< dist/pack-$(arch)/network.cpio

# Made anew each time: nobody remembers which pin is inside.
dist/%-$(arch)-signed.efi: dist/%-$(arch).initrd $(packages) FORCE
	image/sign $(arch) $* "$(SIGN)" "$(PIN)" "$(SERVER)" $@ $< dist/pack-$(arch)/network.cpio

dist/%-x86_64.iso: target/image/%-medium.initrd dist/packages.txt dist/pack-x86_64/cards image/iso image/join $(wildcard image/unify/src/*)
	image/iso $* $@ $<

dist/%-x86_64-pinned.iso: target/image/%-medium.initrd dist/packages.txt dist/pack-x86_64/cards FORCE
	image/iso $* $@ $< "$(PIN)" "$(SERVER)"

dist/%-x86_64-signed.iso: target/image/%-medium.initrd dist/packages.txt dist/pack-x86_64/cards FORCE
	image/iso $* $@ $< "$(PIN)" "$(SERVER)" "$(SIGN)"

# On a medium SunshineOS can be used without a server; over a network it is smaller. HerculesOS is the same.
target/image/sunshineos-medium.initrd: target/image/sunshineos-medium.cpio.zst target/image/modules.cpio.zst
	image/together $@ $^

target/image/herculesos-medium.initrd: target/image/herculesos.cpio.zst target/image/modules.cpio.zst
	image/together $@ $^

target/image/sunshineos-medium.versions: target/image/modules.cpio.zst $(musl)/agent/sunshine-medium dist/packages.txt image/versions
	image/versions sunshineos dist/packages.txt dist/sunshineos-x86_64.vmlinuz target/image/modules.cpio.zst $(musl)/agent/sunshine-medium >$@

target/image/sunshineos-medium.cpio.zst: $(musl)/agent/sunshine-medium target/image/sunshineos-medium.versions image/pack-system $(pack)
	image/pack-system sunshineos $< $@ target/image/parts/etc/ssl/certs/ca-certificates.crt

# Cargo has one place for both: the one for networks goes back into it. This one may be larger, so that all processors optimise it
# at once.
$(musl)/agent/sunshine-medium: $(musl)/agent/sunshine FORCE | $(build)/sunshineos.cpio.zst $(musl)/agent/hercules
	image/build-static x86_64 sunshine agent offline -Clto=thin -Ccodegen-units=16
	cmp --silent $< $@ || install -m 755 $< $@
	image/build-static x86_64 sunshine agent

# cargo knows what is out of date; make only asks it.
$(musl)/agent/sunshine $(musl)/agent/hercules $(musl)/agent/empty-init: $(if $(foreign),$(build)/parts.stamp) FORCE
	image/build-static $(arch) $(@F) agent

# One cargo at a time, as it would have it anyway: what waits for it takes no job from others.
$(musl)/agent/hercules: | $(musl)/agent/sunshine

$(musl)/release/drydock: $(if $(foreign),$(build)/parts.stamp) FORCE
	image/build-static $(arch) drydock release

# What an image names in the store is there before the image.
dist/%-$(arch).initrd: $(build)/%.cpio.zst $(build)/modules.cpio.zst dist/pack-$(arch)/cards
	image/together $@ $(filter %.zst,$^)

target/image-aarch64/raspberry-pi.stamp: image/raspberry-pi dist/sunshineos-aarch64.initrd dist/herculesos-aarch64.initrd
	image/raspberry-pi
	touch $@

# What is in the files, and of whom: kernel, initramfs, both in one program, and what a Raspberry Pi needs beside them.
from_debian := firmware-.*|linux-(base|binary|image|modules)-[0-9].*|raspi-firmware|systemd-boot-efi
of_boards := $(if $(foreign),dist/raspberry-pi/*)
dist/sunshineos-$(arch).spdx.json: dist/sunshineos-$(arch).initrd dist/sunshineos-$(arch)-all.efi $(boards) $(packages) image/bill image/bill.jq Cargo.lock
	image/bill sunshineos-$(arch) sunshine $(notdir $(musl)) target/image/parts $(packages) 'ca-certificates|$(from_debian)' $(@:.spdx.json=.vmlinuz) $(filter %.initrd %.efi,$^) $(of_boards) >$@

dist/herculesos-$(arch).spdx.json: dist/herculesos-$(arch).initrd dist/herculesos-$(arch)-all.efi $(boards) $(packages) image/bill image/bill.jq Cargo.lock
	image/bill herculesos-$(arch) hercules $(notdir $(musl)) target/image/parts $(packages) '$(from_debian)' $(@:.spdx.json=.vmlinuz) $(filter %.initrd %.efi,$^) $(of_boards) >$@

dist/drydock-$(arch).spdx.json: dist/drydock-$(arch) $(packages) image/bill image/bill.jq Cargo.lock
	image/bill drydock-$(arch) drydock $(notdir $(musl)) target/image/parts $(packages) '' $< >$@

dist/drydock-$(arch): $(musl)/release/drydock
	mkdir -p $(@D)
	install -m 755 $< $@
	image/checksums

$(packages): $(build)/parts.stamp $(if $(foreign),$(build)/vmlinuz) image/collect-parts
	image/collect-parts $(arch)

dist/SHA256SUMS: $(packages) dist/sunshineos-$(arch).initrd dist/herculesos-$(arch).initrd $(unified) $(media) $(boards) $(versions) $(bills)
	image/checksums

empty-initrd: target/bench/empty.initrd ## builds what boot times are compared with

target/bench/empty.initrd: $(build)/empty-init.cpio.zst
	mkdir -p $(@D)
	cp $< $@

workshop: target/workshop/initrd ## builds the machine in which tests use Debian's tools

target/image/workshop.cpio.zst: image/workshop/mkosi.conf image/workshop/mkosi.extra/init image/build-tree
	image/build-tree image/workshop
	touch $@

# Debian's /lib is a link, whose place a directory of that name would take.
target/workshop/initrd: target/image/workshop.cpio.zst image/select-modules $(pack) $(wildcard image/modules/* image/store/*.list image/workshop/*.list)
	mkdir -p $(@D)
	image/select-modules x86_64 $$PWD/$(parts)/usr/lib/modules/* $$PWD/target/workshop/root image/{modules,store,workshop}/*.list
	mkdir target/workshop/root/usr
	mv target/workshop/root/lib target/workshop/root/usr/lib
	image/pack target/workshop/root target/workshop/modules.cpio.zst
	cat $< target/workshop/modules.cpio.zst >$@
	rm -r target/workshop/root target/workshop/root.named target/workshop/modules.cpio.zst
	cp $(parts)/usr/lib/modules/*/vmlinuz target/workshop/vmlinuz

# Trees are made anew when a file or a directory of theirs changes; what links lead to is not ours.
cloud: target/cloud/cloud.raw ## builds the cloud image that tests install

target/image/cloud.stamp: $(shell find image/cloud/mkosi.conf image/cloud/mkosi.extra image/cloud/mkosi.skeleton -not -type l) image/build-tree
	image/build-tree image/cloud
	touch $@

target/cloud/cloud.raw: target/image/cloud.stamp image/cloud/assemble
	mkdir -p $(@D)
	image/cloud/assemble target/image/cloud $@

host: target/host/host.raw ## builds the Debian on which tests install a release

target/image/host.stamp: $(shell find image/host/mkosi.conf image/host/mkosi.extra image/cloud/mkosi.skeleton -not -type l) image/build-tree
	image/build-tree image/host
	touch $@

target/host/host.raw: target/image/host.stamp image/cloud/assemble
	mkdir -p $(@D)
	image/cloud/assemble target/image/host $@ 3072

check: ## format, lints, tests without virtual machines, documentation
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo test --workspace --exclude qemu --locked
	cargo test --manifest-path image/unpacker/Cargo.toml --target-dir target/unpacker --locked --lib
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked
	shellcheck $(scripts)
	image/check-settle

check-image: image ## says what is in the image, and fails on what does not belong there

check-reproducible: image ## builds the image again elsewhere, and compares the bytes
	image/check-reproducible

test: deps check image drydock empty-initrd cloud ## every mechanism once, whole machines included
	@$(MAKE) --no-print-directory release
	cargo run --locked --package qemu -- test

test-qemu: deps image drydock cloud ## CASE=name: one case, with the serial console shown
	@[ -n "$(CASE)" ] || { echo >&2 'say which: make test-qemu CASE=name'; exit 1; }
	cargo run --locked --package qemu -- case "$(CASE)" --show-serial

soak: deps image drydock cloud workshop host ## the full matrices, for hours
	@$(MAKE) --no-print-directory release
	DRYDOCK_POWER_CUTS=1000 cargo test --locked --package install --test it cuts
	DRYDOCK_POWER_CUTS=1000 cargo test --locked --package wipe --test media cuts
	DRYDOCK_POWER_CUTS=1000 cargo test --locked --package wipe --test cuts
	DRYDOCK_POWER_CUTS=1000 cargo test --locked --package wipe --test harbour cuts
	DRYDOCK_MISMATCHES=10000 cargo test --locked --package disk --lib do_not_fit
	image/check-reproducible
	image/check-mirror
	image/workshop/check-layouts
	image/workshop/check-terminal
	image/workshop/check-distrust
	cargo run --locked --package qemu -- soak

# Images are not booted where they are only written.
bench: deps $(if $(filter imaging,$(AREA)),,image drydock) $(if $(filter imaging wiping,$(AREA)),,empty-initrd cloud) ## measures; AREA=name: one area
	$(if $(filter-out imaging,$(AREA)),,cargo build --locked --release --package sunshine)
	$(if $(filter-out imaging,$(AREA)),,cargo build --locked --release --package install --example measure)
	$(if $(filter-out wiping,$(AREA)),,cargo build --locked --release --package wipe --example overwrite)
	cargo run --locked --release --package qemu -- bench $(AREA)

demo: deps image drydock ## boots a machine over the network, and prints its record
	cargo run --locked --package qemu -- demo
