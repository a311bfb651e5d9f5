# Each target does all the set-up that it needs on a machine with Rust and a C compiler.
#   make train ARGS='--seed 2'   trains the reference network on real digits
#   make test                    runs every test and doctest
#   make bench                   measures speed

ARGS ?=

.PHONY: train test bench setup

train: setup
	cargo run --release --example train_cnn -- $(ARGS)

test: setup
	cargo test --release

bench: setup
	cargo bench

# A Vulkan driver where there is none.
setup:
	@bash .ci/setup
