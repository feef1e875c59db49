# The commands of this checkout; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: help deps deps-bench image keys drydock empty-initrd cloud check check-image check-reproducible test test-qemu soak bench demo workshop refresh FORCE
.DEFAULT_GOAL := help

ifneq ($(or $(ARCH),x86_64),x86_64)
$(error ARCH=$(ARCH): images are built for x86_64 only)
endif

musl := target/x86_64-unknown-linux-musl
parts := target/image/parts
# What makes archives of directories, with the zstd of the tree of packages.
pack := target/image/parts.stamp image/pack image/from-parts $(wildcard image/initramfs/src/*)
# One program each, for firmware that boots by HTTP; with SIGN also one that only your own machines trust.
unified := $(foreach system,sunshineos herculesos,$(foreach form,all $(if $(SIGN),signed),dist/$(system)-x86_64-$(form).efi))
# What machines start from a CD or a stick; with PIN also one that knows whom to trust.
media := $(foreach system,sunshineos herculesos,dist/$(system)-x86_64.iso $(if $(PIN),dist/$(system)-x86_64-pinned.iso))
scripts := $(shell grep -rl '^#!/bin/bash' scripts image .ci)

help: ## lists the commands
	@sed -n 's/^\([a-z-]*\):.*## /\1: /p' Makefile

deps: ## installs what the others need, on Debian 12 and 13
	@scripts/deps

deps-bench: deps ## installs what `make bench` is compared with: AREA=imaging, AREA=wiping
	@scripts/deps-bench

image: dist/sunshineos-x86_64.initrd dist/herculesos-x86_64.initrd $(unified) $(media) dist/SHA256SUMS ## builds dist/; SIGN=DIRECTORY PIN=sha256:…: signed too
	@image/check-image
	@image/check-unified
	@image/check-media

keys: target/image/parts.stamp ## makes your own keys for Secure Boot; KEYS=DIRECTORY
	image/make-keys $(or $(KEYS),keys)

drydock: dist/drydock-x86_64 ## builds the server alone

refresh: ## has the next image built from the newest Debian packages
	rm -f target/image/parts.stamp

# The tree of Debian packages: built once, then only when its description changes or after `make refresh`.
target/image/parts.stamp: mkosi.conf image/build-tree
	image/build-tree .
	touch $@

# Core and store are indexed together, so that a machine knows of every driver, whether it has it or not.
target/image/union.stamp: image/select-modules $(pack) $(wildcard image/modules/* image/store/*.list)
	image/select-modules $$PWD/$(parts)/usr/lib/modules/* $$PWD/target/image/union image/modules/*.list image/store/*.list
	touch $@

# Modules change seldom and the agent often: the initramfs is two compressed archives in a row. Both systems have the same core.
target/image/modules.cpio.zst: target/image/union.stamp $(wildcard image/store/src/* crates/modules/src/*)
	cargo run --quiet --locked --package store --target-dir target -- divide target/image
	image/pack target/image/modules $@

dist/pack-x86_64/cards: target/image/modules.cpio.zst image/publish
	image/publish
	touch $@

target/image/sunshineos.cpio.zst: $(musl)/agent/sunshine image/pack-system $(pack)
	image/pack-system sunshineos $< $@ $(parts)/etc/ssl/certs/ca-certificates.crt

target/image/herculesos.cpio.zst: $(musl)/agent/hercules image/pack-system $(pack)
	image/pack-system herculesos $< $@

target/image/empty-init.cpio.zst: $(musl)/agent/empty-init image/pack-system $(pack)
	image/pack-system empty-init $< $@

# With every network driver, since nobody adds what one machine needs.
dist/%-x86_64-all.efi: dist/%-x86_64.initrd dist/packages.txt image/join $(wildcard image/unify/src/*)
	image/join $* 2048 $@ $< dist/pack-x86_64/network.cpio

# Made anew each time: nobody remembers which pin is inside.
dist/%-x86_64-signed.efi: dist/%-x86_64.initrd dist/packages.txt FORCE
	image/sign $* "$(SIGN)" "$(PIN)" "$(SERVER)" $@ $< dist/pack-x86_64/network.cpio

dist/%-x86_64.iso: dist/%-x86_64.initrd dist/packages.txt image/iso image/join $(wildcard image/unify/src/*)
	image/iso $* $@

dist/%-x86_64-pinned.iso: dist/%-x86_64.initrd dist/packages.txt FORCE
	image/iso $* $@ "$(PIN)" "$(SERVER)"

# cargo knows what is out of date; make only asks it.
$(musl)/agent/sunshine $(musl)/agent/hercules $(musl)/agent/empty-init: FORCE
	image/build-static $(@F) agent

$(musl)/release/drydock: FORCE
	image/build-static drydock release

# What an image names in the store is there before the image. Old boot programs and stubs put the next archive right behind
# it, where the kernel looks for one at multiples of four only.
dist/%-x86_64.initrd: target/image/modules.cpio.zst target/image/%.cpio.zst dist/pack-x86_64/cards
	cat $(filter %.zst,$^) >$@.new
	truncate --size=%4 $@.new
	mv $@.new $@

dist/drydock-x86_64: $(musl)/release/drydock
	mkdir -p $(@D)
	install -m 755 $< $@
	image/checksums

dist/packages.txt: target/image/parts.stamp image/collect-parts
	image/collect-parts

dist/SHA256SUMS: dist/packages.txt dist/sunshineos-x86_64.initrd dist/herculesos-x86_64.initrd $(unified) $(media)
	image/checksums

empty-initrd: target/bench/empty.initrd ## builds what boot times are compared with

target/bench/empty.initrd: target/image/empty-init.cpio.zst
	mkdir -p $(@D)
	cp $< $@

workshop: target/workshop/initrd ## builds the machine in which tests use Debian's tools

target/image/workshop.cpio.zst: image/workshop/mkosi.conf image/workshop/mkosi.extra/init image/build-tree
	image/build-tree image/workshop
	touch $@

# Debian's /lib is a link, whose place a directory of that name would take.
target/workshop/initrd: target/image/workshop.cpio.zst image/select-modules $(pack) $(wildcard image/modules/* image/store/*.list image/workshop/*.list)
	mkdir -p $(@D)
	image/select-modules $$PWD/$(parts)/usr/lib/modules/* $$PWD/target/workshop/root image/{modules,store,workshop}/*.list
	mkdir target/workshop/root/usr
	mv target/workshop/root/lib target/workshop/root/usr/lib
	image/pack target/workshop/root target/workshop/modules.cpio.zst
	cat $< target/workshop/modules.cpio.zst >$@
	rm -r target/workshop/root target/workshop/root.named target/workshop/modules.cpio.zst
	cp $(parts)/usr/lib/modules/*/vmlinuz target/workshop/vmlinuz

cloud: target/cloud/cloud.raw ## builds the cloud image that tests install

target/image/cloud.stamp: $(shell find image/cloud/mkosi.conf image/cloud/mkosi.extra image/cloud/mkosi.skeleton -type f) image/build-tree
	image/build-tree image/cloud
	touch $@

target/cloud/cloud.raw: target/image/cloud.stamp image/cloud/assemble
	mkdir -p $(@D)
	image/cloud/assemble target/image/cloud $@

check: ## format, lints, tests without virtual machines, documentation
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo test --workspace --exclude qemu --locked
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked
	shellcheck $(scripts)

check-image: image ## says what is in the image, and fails on what does not belong there

check-reproducible: image ## builds the image again elsewhere, and compares the bytes
	image/check-reproducible

test: deps check image drydock empty-initrd cloud ## every mechanism once, whole machines included
	cargo run --locked --package qemu -- test

test-qemu: deps image drydock cloud ## CASE=name: one case, with the serial console shown
	@[ -n "$(CASE)" ] || { echo >&2 'say which: make test-qemu CASE=name'; exit 1; }
	cargo run --locked --package qemu -- case "$(CASE)" --show-serial

soak: deps image drydock cloud workshop ## the full matrices, for hours
	DRYDOCK_POWER_CUTS=1000 cargo test --locked --package install --test it cuts
	DRYDOCK_POWER_CUTS=1000 cargo test --locked --package wipe --test media cuts
	DRYDOCK_POWER_CUTS=1000 cargo test --locked --package wipe --test cuts
	DRYDOCK_POWER_CUTS=1000 cargo test --locked --package wipe --test harbour cuts
	DRYDOCK_MISMATCHES=10000 cargo test --locked --package disk --lib do_not_fit
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
