# Each target does all the set-up that it needs on a machine with Rust and a C compiler.
#   make train ARGS='--seed 2'   trains the reference network on real digits
#   make examples                runs every example; make examples ARGS=--quick in minutes
#   make tutorials               draws the tutorials' pictures into target/tutorials, with an index page
#   make test                    runs every test and doctest
#   make bench                   measures speed
#   make device-check            builds what benches/device-check/run needs on a machine with a GPU and no toolchain
#   make wasm                    checks that the library compiles for a page
#   make bench-peers             measures it beside Burn, candle, meganeura and torch, after minutes of building them
#   make portability             compiles every kernel with the compilers of browsers and of Direct3D 12
#   make test-matrix             runs them on each software driver, with each kind of kernels; ARGS='--sample 30' some of them
#   make torture                 kills while saving, losses of the device, threads, and MINUTES (5) of watching memory
#   make fuzz                    gives hostile files to all readers, 10 minutes each; SECONDS=60 for one minute, TARGETS='npy csv'
#   make deny                    checks licences and advisories of dependencies

ARGS ?=
SECONDS ?= 600
TARGETS ?=

.PHONY: train examples tutorials test bench bench-peers device-check wasm portability test-matrix torture fuzz deny setup

train: setup
	cargo run --release --example train_cnn -- $(ARGS)

examples: setup
	bash .ci/examples $(ARGS)

# The page shows what the others have drawn.
tutorials: setup
	cargo run --release --example safeguards -- --out target/tutorials
	cargo run --release --example search_pictures -- --out target/tutorials $(ARGS)
	cargo run --release --example search_digits -- --out target/tutorials $(ARGS)
	cargo run --release --example tutorials -- --out target/tutorials $(ARGS)

test: setup
	cargo test --release

bench: setup
	cargo bench

bench-peers: setup
	cargo bench --bench models -- --peers $(ARGS)

device-check: setup
	bash benches/device-check/build

portability:
	bash .ci/portability/run

test-matrix: setup
	python3 .ci/test-matrix $(ARGS)

torture: setup
	bash .ci/torture

fuzz:
	bash .ci/fuzz $(SECONDS) $(TARGETS)

deny:
	bash .ci/deny

wasm:
	bash .ci/wasm

# A Vulkan driver where there is none.
setup:
	@bash .ci/setup
