// What is compiled behind every model: cycles, ports by number, and drivers of streams that run beside it.
//
// A cycle: drivers and stimuli set inputs, logic settles, outputs are read, drivers see what was exchanged, clock edge.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace {

struct Port {
    uint32_t *chunks;  // of the current value
    int n_chunks;

    void set(const uint32_t *from) const { std::memcpy(chunks, from, 4 * n_chunks); }
    void get(uint32_t *to) const { std::memcpy(to, chunks, 4 * n_chunks); }
    bool is_high() const { return chunks[0] & 1; }
    bool equals(const uint32_t *other) const { return !std::memcmp(chunks, other, 4 * n_chunks); }
};

// Whether a side of a stream stalls, by cycle, again and again.
struct Stalls {
    std::vector<uint8_t> pattern;

    bool at(uint64_t cycle) const { return !pattern.empty() && pattern[cycle % pattern.size()]; }
};

struct Driver {
    virtual ~Driver() = default;
    virtual void drive(uint64_t cycle) = 0;
    virtual void observe(uint64_t cycle) = 0;
    std::vector<uint64_t> cycles;  // in which something was exchanged
    int64_t broken = -1;           // the first cycle in which the model broke the contract of streams
};

// Offers payloads one after the other. An offer stands until it is taken.
struct Source : Driver {
    Port payload, valid, ready;
    std::vector<uint32_t> items;
    Stalls stalls;
    size_t n_taken = 0;
    bool is_offered = false;

    void drive(uint64_t cycle) override {
        size_t n_items = payload.n_chunks ? items.size() / payload.n_chunks : 0;
        is_offered = n_taken < n_items && (is_offered || !stalls.at(cycle));
        valid.chunks[0] = is_offered;
        if (is_offered) payload.set(&items[n_taken * payload.n_chunks]);
    }

    void observe(uint64_t cycle) override {
        if (!is_offered || !ready.is_high()) return;
        cycles.push_back(cycle);
        n_taken++;
        is_offered = false;
    }
};

// Takes payloads, and checks that what was offered stays.
struct Sink : Driver {
    Port payload, valid, ready;
    std::vector<uint32_t> items, offered;
    Stalls stalls;

    void drive(uint64_t cycle) override { ready.chunks[0] = !stalls.at(cycle); }

    void observe(uint64_t cycle) override {
        bool has_changed = !offered.empty() && (!valid.is_high() || !payload.equals(offered.data()));
        if (has_changed && broken < 0) broken = cycle;
        offered.clear();
        if (!valid.is_high()) return;
        if (ready.is_high()) {
            cycles.push_back(cycle);
            items.insert(items.end(), payload.chunks, payload.chunks + payload.n_chunks);
        } else {
            offered.assign(payload.chunks, payload.chunks + payload.n_chunks);
        }
    }
};

// The slave side of a memory port. One beat moves in a cycle, of a read or of a write; after refresh_every beats none does
// for refresh_cycles. Bursts of a kind are served in order, and a read that is due goes before a write.
struct Memory : Driver {
    enum { AR_ADDR, AR_LEN, AR_VALID, AR_READY, R_DATA, R_LAST, R_VALID, R_READY, AW_ADDR, AW_LEN, AW_VALID, AW_READY,
           W_DATA, W_LAST, W_VALID, W_READY, B_VALID, B_READY, N_PORTS };
    struct Burst {
        uint64_t address, n_beats, due;  // byte address of the next beat, beats left, first cycle of the next beat
    };

    Port ports[N_PORTS];
    uint8_t *bytes;
    uint64_t n_bytes, latency, refresh_every, refresh_cycles;
    Stalls address_stalls, data_stalls;
    std::deque<Burst> reads, writes;
    uint64_t n_beats = 0, paused_until = 0, n_answers = 0;
    bool is_holding_read = false;      // a beat is offered
    std::vector<uint32_t> offered[3];  // of AR, AW and W: what must stay

    uint64_t beat_bytes() const { return 4 * ports[R_DATA].n_chunks; }
    bool is_exchanged(int valid) const { return ports[valid].is_high() && ports[valid + 1].is_high(); }

    void drive(uint64_t cycle) override {
        bool is_open = cycle >= paused_until;
        bool is_due = is_open && !reads.empty() && reads.front().due <= cycle;
        bool is_read = is_due && !is_holding_read && !data_stalls.at(cycle);
        ports[AR_READY].chunks[0] = !address_stalls.at(cycle);
        ports[AW_READY].chunks[0] = !address_stalls.at(cycle + 1);
        ports[R_VALID].chunks[0] = is_read || is_holding_read;
        if (is_read) {
            std::memcpy(ports[R_DATA].chunks, bytes + reads.front().address, beat_bytes());
            ports[R_LAST].chunks[0] = reads.front().n_beats == 1;
            is_holding_read = true;
        }
        ports[W_READY].chunks[0] = is_open && !is_read && !writes.empty() && !data_stalls.at(cycle + 1);
        ports[B_VALID].chunks[0] = n_answers > 0;
    }

    void observe(uint64_t cycle) override {
        stays(0, {AR_ADDR, AR_LEN}, AR_VALID, cycle);
        stays(1, {AW_ADDR, AW_LEN}, AW_VALID, cycle);
        stays(2, {W_DATA, W_LAST}, W_VALID, cycle);
        // A read that had to wait may be taken beside a write; the memory then rests for a cycle.
        if (is_exchanged(R_VALID) && is_exchanged(W_VALID)) paused_until = cycle + 2;
        if (is_exchanged(B_VALID)) n_answers--;
        if (is_exchanged(R_VALID)) {
            is_holding_read = false;
            moved(reads, cycle);
        }
        if (is_exchanged(W_VALID)) {
            std::memcpy(bytes + writes.front().address, ports[W_DATA].chunks, beat_bytes());
            if (ports[W_LAST].is_high() != (writes.front().n_beats == 1) && broken < 0) broken = cycle;
            n_answers += writes.front().n_beats == 1;
            moved(writes, cycle);
        }
        if (is_exchanged(AR_VALID)) accept(reads, AR_ADDR, cycle + latency);
        if (is_exchanged(AW_VALID)) accept(writes, AW_ADDR, cycle + 1);
    }

    void moved(std::deque<Burst> &bursts, uint64_t cycle) {
        cycles.push_back(cycle);
        bursts.front().address += beat_bytes();
        if (!--bursts.front().n_beats) bursts.pop_front();
        if (refresh_every && ++n_beats % refresh_every == 0) {
            paused_until = std::max(paused_until, cycle + 1) + refresh_cycles;
        }
    }

    void accept(std::deque<Burst> &bursts, int address, uint64_t due) {
        uint64_t first = ports[address].chunks[0], n = ports[address + 1].chunks[0] + 1;
        // Bursts outside of the memory, off the beats, or across 4 KiB break the rules; they are not served.
        bool is_legal = first % beat_bytes() == 0 && first + n * beat_bytes() <= n_bytes;
        is_legal = is_legal && first / 4096 == (first + n * beat_bytes() - 1) / 4096;
        if (is_legal) bursts.push_back({first, n, due});
        else if (broken < 0) broken = due;
    }

    void stays(int channel, std::initializer_list<int> parts, int valid, uint64_t cycle) {
        std::vector<uint32_t> now;
        for (int part : parts) now.insert(now.end(), ports[part].chunks, ports[part].chunks + ports[part].n_chunks);
        auto &before = offered[channel];
        if (!before.empty() && (!ports[valid].is_high() || before != now) && broken < 0) broken = cycle;
        before.clear();
        if (ports[valid].is_high() && !ports[valid + 1].is_high()) before = now;
    }
};

struct Model {
    cxxrtl_design::p_top top;
    cxxrtl::debug_items items;
    std::vector<Port> ports;
    std::vector<std::unique_ptr<Driver>> drivers;
    Port clock{nullptr, 0};
    uint64_t cycle = 0;

    Model() {
        top.debug_info(&items, nullptr, "");
        int number = port("clk");
        if (number >= 0) clock = ports[number];
    }

    int port(const char *name) {
        auto found = items.table.find(name);
        if (found == items.table.end() || found->second.size() != 1) return -1;
        auto &item = found->second[0];
        ports.push_back({item.curr, (int)(item.width + 31) / 32});
        return ports.size() - 1;
    }

    void settle() { top.step(); }

    void edge() {
        if (!clock.chunks) return;
        clock.chunks[0] = 1;
        top.step();
        clock.chunks[0] = 0;
    }

    void set(int n, const int *numbers, const uint32_t *&from) {
        for (int i = 0; i < n; i++) {
            ports[numbers[i]].set(from);
            from += ports[numbers[i]].n_chunks;
        }
    }

    void get(int n, const int *numbers, uint32_t *&to) {
        for (int i = 0; i < n; i++) {
            ports[numbers[i]].get(to);
            to += ports[numbers[i]].n_chunks;
        }
    }

    void run(int64_t n_cycles, int n_in, const int *in, const uint32_t *from, int n_out, const int *out, uint32_t *to) {
        for (int64_t i = 0; i < n_cycles; i++, cycle++) {
            for (auto &driver : drivers) driver->drive(cycle);
            set(n_in, in, from);
            settle();
            get(n_out, out, to);
            for (auto &driver : drivers) driver->observe(cycle);
            edge();
        }
    }

    int add(std::unique_ptr<Driver> driver) {
        drivers.push_back(std::move(driver));
        return drivers.size() - 1;
    }
};

Stalls stalls(const uint8_t *pattern, int64_t n) { return {std::vector<uint8_t>(pattern, pattern + n)}; }

}  // namespace

extern "C" {

Model *silicut_new() { return new Model; }
void silicut_delete(Model *model) { delete model; }
int silicut_port(Model *model, const char *name) { return model->port(name); }
void silicut_set(Model *model, int port, const uint32_t *from) { model->set(1, &port, from); }

void silicut_get(Model *model, int port, uint32_t *to) {
    model->settle();
    model->get(1, &port, to);
}

void silicut_run(
    Model *model, int64_t n_cycles, int n_in, const int *in, const uint32_t *from, int n_out, const int *out, uint32_t *to
) {
    model->run(n_cycles, n_in, in, from, n_out, out, to);
}

int silicut_source(
    Model *model, const int *ports, const uint32_t *items, int64_t n_chunks, const uint8_t *pattern, int64_t n_pattern
) {
    auto source = std::make_unique<Source>();
    source->payload = model->ports[ports[0]];
    source->valid = model->ports[ports[1]];
    source->ready = model->ports[ports[2]];
    source->items.assign(items, items + n_chunks);
    source->stalls = stalls(pattern, n_pattern);
    return model->add(std::move(source));
}

int silicut_sink(Model *model, const int *ports, const uint8_t *pattern, int64_t n_pattern) {
    auto sink = std::make_unique<Sink>();
    sink->payload = model->ports[ports[0]];
    sink->valid = model->ports[ports[1]];
    sink->ready = model->ports[ports[2]];
    sink->stalls = stalls(pattern, n_pattern);
    return model->add(std::move(sink));
}

int silicut_memory(
    Model *model, const int *ports, uint8_t *bytes, uint64_t n_bytes, const uint64_t *timing, const uint8_t *patterns,
    const int64_t *n_patterns
) {
    auto memory = std::make_unique<Memory>();
    for (int i = 0; i < Memory::N_PORTS; i++) memory->ports[i] = model->ports[ports[i]];
    memory->bytes = bytes;
    memory->n_bytes = n_bytes;
    memory->latency = timing[0];
    memory->refresh_every = timing[1];
    memory->refresh_cycles = timing[2];
    memory->address_stalls = stalls(patterns, n_patterns[0]);
    memory->data_stalls = stalls(patterns + n_patterns[0], n_patterns[1]);
    return model->add(std::move(memory));
}

int64_t silicut_n_exchanged(Model *model, int driver) { return model->drivers[driver]->cycles.size(); }
int64_t silicut_broken(Model *model, int driver) { return model->drivers[driver]->broken; }

void silicut_cycles(Model *model, int driver, uint64_t *to) {
    auto &cycles = model->drivers[driver]->cycles;
    std::memcpy(to, cycles.data(), 8 * cycles.size());
}

void silicut_taken(Model *model, int driver, uint32_t *to) {
    auto &items = static_cast<Sink &>(*model->drivers[driver]).items;
    std::memcpy(to, items.data(), 4 * items.size());
}

}  // extern "C"
