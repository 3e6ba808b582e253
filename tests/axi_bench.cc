// Drives the AXI4-Streams of a design made by Verilator and writes down all pins of every cycle.
//
// It judges nothing: axi_trace.py does. Phases follow each other without a pause; each begins with a reset of so
// many cycles, none for a design as it powers up. See verilator_bench.py for what is in the files.
#include "Vtop.h"
#include "verilated.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

namespace {

// The layout of these two is repeated in verilator_bench.py.
struct Phase {
	int64_t reset;  // cycles
	int64_t beats;  // to send
	int64_t wanted; // beats to receive: the phase ends after them and the quiet cycles
	int64_t quiet;  // cycles
	int64_t cycles; // after which it ends in any case; 0: a design that does not move for so long hangs
};

struct Pins {
	uint32_t s_data;
	uint8_t s_valid, s_ready, s_last;
	uint8_t m_data, m_valid, m_ready, m_last;
	uint8_t error, rst;
	uint8_t follows; // whether an output of the master changes with TREADY, in the same cycle
	uint8_t phase;
	uint8_t unused;
};
static_assert(sizeof(Pins) == 16, "numpy expects no padding");

constexpr int64_t DEADLINE = 50000;

template <typename T> std::vector<T> read(FILE *file) {
	int64_t count = 0;
	std::vector<T> items;
	if (fread(&count, sizeof count, 1, file) == 1)
		items.resize(count);
	if (fread(items.data(), sizeof(T), items.size(), file) != items.size())
		abort();
	return items;
}

struct Pattern {
	std::vector<uint8_t> cycles;
	size_t next = 0;

	bool willing() { return cycles[next++ % cycles.size()]; }
};

} // namespace

int main(int argc, char **argv) {
	auto context = std::make_unique<VerilatedContext>();
	context->commandArgs(argc, argv);
	auto top = std::make_unique<Vtop>(context.get());
	FILE *in = fopen(argv[1], "rb"), *out = fopen(argv[2], "wb");
	if (!in || !out)
		return 2;
	auto phases = read<Phase>(in);
	auto beats = read<uint64_t>(in); // of all phases; TLAST is bit 32
	Pattern valid{read<uint8_t>(in)}, ready{read<uint8_t>(in)};
	fclose(in);

	size_t next = 0, end = 0;
	uint32_t noise = 1; // on the data pins while TVALID is low
	int status = 0;
	for (size_t number = 0; number < phases.size() && !status; number++) {
		const Phase &phase = phases[number];
		next = end;
		end += phase.beats;
		bool pending = false;
		int64_t received = 0, moved = 0, quiet = 0;
		for (int64_t cycle = 0; !phase.cycles || cycle < phase.cycles; cycle++) {
			Pins pins{};
			pins.phase = number;
			pins.rst = top->rst = cycle < phase.reset;
			bool starts = valid.willing() && !pins.rst && next < end;
			pending = pending || starts;
			noise = noise * 1664525 + 1013904223;
			uint64_t beat = pending ? beats[next] : uint64_t(noise) << 13 ^ noise;
			top->s_axis_tvalid = pins.s_valid = pending;
			top->s_axis_tdata = pins.s_data = beat & (uint64_t(1) << SERIAL_BITS) - 1;
			top->s_axis_tlast = pins.s_last = beat >> 32 & 1;
			pins.m_ready = ready.willing();
			top->clk = 0;
			top->m_axis_tready = !pins.m_ready;
			top->eval();
			uint8_t data = top->m_axis_tdata, sent = top->m_axis_tvalid, last = top->m_axis_tlast;
			top->m_axis_tready = pins.m_ready;
			top->eval();
			pins.m_data = top->m_axis_tdata;
			pins.m_valid = top->m_axis_tvalid;
			pins.m_last = top->m_axis_tlast;
			pins.follows = data != pins.m_data || sent != pins.m_valid || last != pins.m_last;
			pins.s_ready = top->s_axis_tready;
			pins.error = top->frame_error;
			fwrite(&pins, sizeof pins, 1, out);
			top->clk = 1;
			top->eval();
			if (pins.rst)
				continue;
			if (pending && pins.s_ready) {
				pending = false;
				next++;
				moved = cycle;
			}
			if (pins.m_valid && pins.m_ready) {
				received++;
				moved = cycle;
			}
			if (received >= phase.wanted && next == end && quiet++ == phase.quiet)
				break;
			if (cycle - moved > DEADLINE) {
				status = 3;
				break;
			}
		}
	}
	top->final();
	return fclose(out) ? 2 : status;
}
