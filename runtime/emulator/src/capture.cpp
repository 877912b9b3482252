// Capture and graphs. A graph runs its nodes one after the other, in an order that its edges allow.
#include "driver.h"
#include <string.h>

void invalidate(capture& what) { what.invalid = true; }

result forbidden_in_capture() {
    for (capture* c : all().captures) {
        bool own = c->thread == std::this_thread::get_id();
        if (c->mode == CAPTURE_RELAXED || (c->mode == CAPTURE_THREAD_LOCAL && !own)) continue;
        invalidate(*c);
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    return CUDA_SUCCESS;
}

result record_node(stream& on, work&& what) {
    capture& c = *on.capturing;
    REQUIRE(!c.invalid, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    auto node = std::make_unique<graph_node>();
    node->what = std::move(what);
    node->after = std::move(on.after);
    node->number = c.graph->nodes.size();
    on.after = {node.get()};
    all().nodes.insert(node.get());
    c.graph->nodes.push_back(std::move(node));
    return CUDA_SUCCESS;
}

// True if all that the other streams did comes before where the first one stands.
static bool joined(const capture& c) {
    std::vector<bool> before(c.graph->nodes.size());
    for (graph_node* n : c.origin->after) before[n->number] = true;
    for (size_t i = before.size(); i--;)
        if (before[i])
            for (graph_node* n : c.graph->nodes[i]->after) before[n->number] = true;
    for (stream* s : c.streams)
        for (graph_node* n : s->after)
            if (!before[n->number]) return false;
    return true;
}

static void forget(graph& what) {
    for (auto& node : what.nodes) all().nodes.erase(node.get());
}

static result valid(graph* what) { return all().graphs.count(what) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE; }
static result valid(executable* what) { return all().executables.count(what) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE; }

static bool loaded(const work& what) { return what.what != work::KERNEL || all().functions.count(what.call.function); }

// The nodes in the order in which they run.
static std::vector<work> in_order(const executable& e) {
    std::vector<work> nodes;
    std::vector<bool> done(e.nodes.size());
    bool last_first = all().schedule == shim::LAST_IN;
    while (nodes.size() < e.nodes.size()) {
        for (size_t k = 0; k < e.nodes.size(); k++) {
            size_t n = last_first ? e.nodes.size() - 1 - k : k;
            bool ready = !done[n];
            for (size_t before : e.after[n]) ready &= done[before];
            if (!ready) continue;
            done[n] = true;
            nodes.push_back(e.nodes[n]);
            break;
        }
    }
    return nodes;
}

static result set_call(call_of_kernel& call, const CUDA_KERNEL_NODE_PARAMS* p) {
    REQUIRE(p && !p->extra && p->func, CUDA_ERROR_INVALID_VALUE);
    shim::dim grid = {p->gridDimX, p->gridDimY, p->gridDimZ}, threads = {p->blockDimX, p->blockDimY, p->blockDimZ};
    call_of_kernel fresh;
    if (result r = fill_call(fresh, p->func, grid, threads, p->sharedMemBytes, p->kernelParams)) return r;
    call = std::move(fresh);
    return CUDA_SUCCESS;
}

extern "C" {

OUT result cuStreamBeginCapture_v2(CUstream handle, int mode) {
    ENTER(CONTEXT);
    REQUIRE((uintptr_t)handle > 2, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    STREAM(s, handle);
    REQUIRE(!s->capturing, CUDA_ERROR_ILLEGAL_STATE);
    REQUIRE(mode >= 0 && mode <= 2, CUDA_ERROR_INVALID_VALUE);
    static uint64_t id;
    capture* c = new capture{++id, s, {s}, mode, std::this_thread::get_id()};
    c->graph = std::make_unique<graph>();
    s->capturing = c;
    s->after.clear();
    all().captures.insert(c);
    all().counters.captures++;
    return CUDA_SUCCESS;
}

OUT result cuStreamEndCapture(CUstream handle, CUgraph* into) {
    ENTER(CONTEXT);
    STREAM(s, handle);
    *into = nullptr;
    capture* c = s->capturing;
    REQUIRE(c, CUDA_ERROR_ILLEGAL_STATE);
    REQUIRE(c->origin == s, CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
    REQUIRE(c->mode == CAPTURE_RELAXED || c->thread == std::this_thread::get_id(), CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
    result outcome = c->invalid ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED : joined(*c) ? CUDA_SUCCESS : CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
    for (stream* member : c->streams) {
        member->capturing = nullptr;
        member->after.clear();
    }
    for (event* e : all().events) {
        if (e->captured != c) continue;
        e->captured = nullptr;
        e->last = nullptr;
    }
    all().captures.erase(c);
    if (outcome) {
        forget(*c->graph);
    } else {
        *into = c->graph.release();
        all().graphs.insert(*into);
    }
    delete c;
    return outcome;
}

OUT result cuStreamIsCapturing(CUstream handle, int* into) {
    ENTER(CONTEXT);
    STREAM(s, handle);
    *into = !s->capturing ? CAPTURE_NONE : s->capturing->invalid ? CAPTURE_INVALIDATED : CAPTURE_ACTIVE;
    return CUDA_SUCCESS;
}

OUT result cuStreamGetCaptureInfo_v3(CUstream handle, int* status, uint64_t* id, CUgraph* graph, const CUgraphNode** after, const void** edges, size_t* count) {
    ENTER(CONTEXT);
    STREAM(s, handle);
    *status = !s->capturing ? CAPTURE_NONE : s->capturing->invalid ? CAPTURE_INVALIDATED : CAPTURE_ACTIVE;
    if (*status != CAPTURE_ACTIVE) return CUDA_SUCCESS;
    if (id) *id = s->capturing->id;
    if (graph) *graph = s->capturing->graph.get();
    if (after) *after = s->after.data();
    if (edges) *edges = nullptr;
    if (count) *count = s->after.size();
    return CUDA_SUCCESS;
}

OUT result cuStreamGetCaptureInfo_v2(CUstream handle, int* status, uint64_t* id, CUgraph* graph, const CUgraphNode** after, size_t* count) {
    return cuStreamGetCaptureInfo_v3(handle, status, id, graph, after, nullptr, count);
}

OUT result cuStreamGetCaptureInfo(CUstream handle, int* status, uint64_t* id) {
    return cuStreamGetCaptureInfo_v3(handle, status, id, nullptr, nullptr, nullptr, nullptr);
}

OUT result cuGraphDestroy(CUgraph what) {
    ENTER(INITIALIZED);
    if (result r = valid(what)) return r;
    forget(*what);
    all().graphs.erase(what);
    delete what;
    return CUDA_SUCCESS;
}

OUT result cuGraphGetNodes(CUgraph what, CUgraphNode* into, size_t* count) {
    ENTER(INITIALIZED);
    if (result r = valid(what)) return r;
    if (!into) return *count = what->nodes.size(), CUDA_SUCCESS;
    for (size_t i = 0; i < *count; i++) into[i] = i < what->nodes.size() ? what->nodes[i].get() : nullptr;
    if (*count > what->nodes.size()) *count = what->nodes.size();
    return CUDA_SUCCESS;
}

OUT result cuGraphNodeGetType(CUgraphNode node, int* into) {
    ENTER(INITIALIZED);
    REQUIRE(all().nodes.count(node), CUDA_ERROR_INVALID_HANDLE);
    *into = node->what.what;
    return CUDA_SUCCESS;
}

// The arguments live as long as the node.
OUT result cuGraphKernelNodeGetParams_v2(CUgraphNode node, CUDA_KERNEL_NODE_PARAMS* into) {
    ENTER(INITIALIZED);
    REQUIRE(all().nodes.count(node) && node->what.what == work::KERNEL, CUDA_ERROR_INVALID_VALUE);
    call_of_kernel& call = node->what.call;
    static std::map<CUgraphNode, std::vector<void*>> pointers;
    std::vector<void*>& mine = pointers[node];
    mine.clear();
    for (size_t offset : call.offsets) mine.push_back(&call.bytes[offset]);
    *into = {call.function, call.grid.x, call.grid.y, call.grid.z, call.threads.x, call.threads.y, call.threads.z, call.shared, mine.data()};
    return CUDA_SUCCESS;
}

OUT result cuGraphInstantiateWithFlags(CUgraphExec* into, CUgraph what, unsigned long long) {
    ENTER(CONTEXT);
    if (result r = valid(what)) return r;
    executable* e = new executable();
    for (auto& node : what->nodes) {
        e->nodes.push_back(node->what);
        e->after.emplace_back();
        for (graph_node* before : node->after) e->after.back().push_back(before->number);
        e->origins.push_back(node.get());
    }
    all().executables.insert(e);
    all().counters.graph_instantiations++;
    *into = e;
    return CUDA_SUCCESS;
}

OUT result cuGraphExecDestroy(CUgraphExec what) {
    ENTER(INITIALIZED);
    if (result r = valid(what)) return r;
    all().executables.erase(what);
    delete what;
    return CUDA_SUCCESS;
}

OUT result cuGraphUpload(CUgraphExec what, CUstream) {
    ENTER(CONTEXT);
    return valid(what);
}

OUT result cuGraphLaunch(CUgraphExec what, CUstream handle) {
    ENTER(CONTEXT);
    if (result r = valid(what)) return r;
    STREAM(s, handle);
    for (const work& node : what->nodes) REQUIRE(loaded(node), CUDA_ERROR_INVALID_HANDLE);
    if (s->capturing) {
        invalidate(*s->capturing);
        return CUDA_ERROR_NOT_SUPPORTED;
    }
    // It runs once at a time.
    if (what->last && !what->last->done && what->last->stream != s) {
        work w{work::WAIT};
        w.place = what->last;
        if (result r = enqueue(*s, std::move(w))) return r;
    }
    work w{work::GRAPH};
    w.nodes = in_order(*what);
    if (result r = enqueue(*s, std::move(w))) return r;
    what->last = std::make_shared<mark>(mark{s});
    work end{work::RECORD};
    end.place = what->last;
    return enqueue(*s, std::move(end));
}

OUT result cuGraphExecKernelNodeSetParams_v2(CUgraphExec what, CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS* to) {
    ENTER(CONTEXT);
    if (result r = valid(what)) return r;
    for (size_t i = 0; i < what->origins.size(); i++)
        if (what->origins[i] == node && what->nodes[i].what == work::KERNEL) return set_call(what->nodes[i].call, to);
    return CUDA_ERROR_INVALID_VALUE;
}

OUT result cuGraphKernelNodeSetParams_v2(CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS* to) {
    ENTER(CONTEXT);
    REQUIRE(all().nodes.count(node) && node->what.what == work::KERNEL, CUDA_ERROR_INVALID_VALUE);
    return set_call(node->what.call, to);
}

OUT result cuGraphExecUpdate_v2(CUgraphExec what, CUgraph to, CUgraphExecUpdateResultInfo* info) {
    ENTER(CONTEXT);
    if (result r = valid(what)) return r;
    if (result r = valid(to)) return r;
    auto refuse = [&](int why, CUgraphNode node) {
        *info = {why, node, nullptr};
        return CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE;
    };
    if (to->nodes.size() != what->nodes.size()) return refuse(UPDATE_TOPOLOGY_CHANGED, nullptr);
    for (size_t i = 0; i < to->nodes.size(); i++) {
        graph_node* node = to->nodes[i].get();
        std::vector<size_t> after;
        for (graph_node* before : node->after) after.push_back(before->number);
        if (after != what->after[i]) return refuse(UPDATE_TOPOLOGY_CHANGED, node);
        if (node->what.what != what->nodes[i].what) return refuse(UPDATE_TYPE_CHANGED, node);
    }
    for (size_t i = 0; i < to->nodes.size(); i++) what->nodes[i] = to->nodes[i]->what;
    all().counters.graph_updates++;
    *info = {UPDATE_SUCCESS, nullptr, nullptr};
    return CUDA_SUCCESS;
}

}  // extern "C"
