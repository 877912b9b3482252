// NVRTC, whose compiler is g++: what it makes of a program is a shared object of the processor, kept in a folder by what
// it was made from.
#include "image.h"
#include <atomic>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <string>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#define OUT __attribute__((visibility("default")))

enum result {
    SUCCESS = 0,
    OUT_OF_MEMORY = 1,
    INVALID_INPUT = 3,
    INVALID_PROGRAM = 4,
    INVALID_OPTION = 5,
    COMPILATION = 6,
};

struct program {
    std::string text, name, log, image;
    bool compiled = false;
};

namespace {

const char* const KNOWN[] = {"--gpu-architecture=", "-arch=", "--fmad=", "-fmad=", "--std=", "-std=", "--ptxas-options=", "-Xptxas", "--disable-warnings",
                             "-w", "--device-debug", "-G", "--generate-line-info", "-lineinfo", "--use_fast_math", "--ftz=", "--prec-div=", "--prec-sqrt=",
                             "--include-path=", "-I", "--define-macro=", "-D", "--maxrregcount=", "--extra-device-vectorization", "-default-device",
                             "--no-source-include", "--dopt=", "--split-compile=", "--restrict", "--relocatable-device-code=", "--device-as-default-execution-space"};
const int ARCHITECTURES[] = {75, 80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121};

std::atomic<unsigned> compilations;

bool letter(char c) { return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

struct found_kernel {
    std::string name, threads;
};

// Kernels are functions that are declared with TW_KERNEL. `__launch_bounds__(n, …)` says how many threads a block may have.
std::vector<found_kernel> kernels_of(const std::string& text) {
    std::vector<found_kernel> found;
    std::string before;
    bool open = false;
    found_kernel next;
    for (size_t i = 0; i < text.size();) {
        if (!strncmp(&text[i], "//", 2)) {
            while (i < text.size() && text[i] != '\n') i++;
        } else if (letter(text[i])) {
            size_t from = i;
            while (i < text.size() && letter(text[i])) i++;
            std::string word = text.substr(from, i - from);
            if (word == "TW_KERNEL" && before != "define") {
                open = true;
                next = {"", "1024"};
            }
            before = word;
        } else if (open && text[i] == '(') {
            size_t from = ++i;
            for (int depth = 1; i < text.size() && depth; i++) depth += (text[i] == '(') - (text[i] == ')');
            if (before == "__launch_bounds__") {
                size_t end = text.find_first_of(",)", from);
                next.threads = text.substr(from, end - from);
            } else if (before != "__attribute__" && before != "alignas") {
                next.name = before;
                found.push_back(next);
                open = false;
            }
        } else {
            i++;
        }
    }
    return found;
}

std::string folder() {
    Dl_info info;
    if (!dladdr((void*)&kernels_of, &info)) abort();
    std::string path = info.dli_fname;
    return path.substr(0, path.rfind('/'));
}

bool read_file(const std::string& path, std::string& into) {
    FILE* file = fopen(path.c_str(), "rb");
    if (!file) return false;
    into.clear();
    char part[1 << 16];
    while (size_t n = fread(part, 1, sizeof part, file)) into.append(part, n);
    fclose(file);
    return true;
}

bool write_file(const std::string& path, const std::string& what) {
    FILE* file = fopen(path.c_str(), "wb");
    if (!file) return false;
    bool good = fwrite(what.data(), 1, what.size(), file) == what.size();
    return !fclose(file) && good;
}

bool complete(const std::string& image) {
    if (image.size() < sizeof(Elf64_Ehdr)) return false;
    Elf64_Ehdr head;
    memcpy(&head, image.data(), sizeof head);
    size_t size = image_bytes(head);
    if (image.size() != size + sizeof(image_mark)) return false;
    image_mark mark;
    memcpy(&mark, &image[size], sizeof mark);
    return !memcmp(mark.magic, IMAGE_MAGIC, sizeof mark.magic) && mark.sum == image_sum(image.data(), size);
}

// Runs the compiler; true if that made `object`.
bool run_compiler(const std::string& source, const std::string& object, const std::string& log, bool debug) {
    std::string here = folder(), shim = here + "/shim.h", include = "-I" + here;
    // No libraries are named: looking into them takes as long as compiling a kernel (see `load` in module.cpp).
    std::vector<std::string> words = {"g++", "-std=c++17", debug ? "-O0" : "-O1", "-w", "-ffp-contract=off", "-fno-strict-aliasing", "-fwrapv",
                                      "-fno-exceptions", "-fno-rtti", "-fPIC", "-fno-asynchronous-unwind-tables", "-shared", "-nostdlib",
                                      "-fsanitize=alignment", "-fsanitize-undefined-trap-on-error",
                                      include, "-include", shim, source, "-o", object};
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(&word[0]);
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&files, 1, 2);
    pid_t child;
    int failed = posix_spawnp(&child, "g++", &files, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&files);
    int status = -1;
    if (!failed)
        while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    return !failed && status == 0;
}

result compile(program& p, bool debug) {
    std::string source = "#line 1 \"" + p.name + "\"\n" + p.text + "\n";
    for (auto& [name, threads] : kernels_of(p.text)) source += "TW_ENTRY(" + name + ", , " + threads + ")\n";
    source += debug ? "// debug\n" : "";
    std::string kept = folder() + "/kernels";
    char key[64];
    snprintf(key, sizeof key, "/%016llx_%zu", (unsigned long long)image_sum(source.data(), source.size()), source.size());
    if (read_file(kept + key, p.image) && complete(p.image)) {
        // What was used last stays, see libraries.rs.
        utimensat(AT_FDCWD, (kept + key).c_str(), nullptr, 0);
        return SUCCESS;
    }
    compilations++;
    static std::atomic<unsigned> number;
    std::string own = kept + "/" + std::to_string(getpid()) + "_" + std::to_string(number++);
    std::string text = own + ".cpp", object = own + ".so", log = own + ".log";
    bool good = write_file(text, source) && run_compiler(text, object, log, debug);
    if (!read_file(log, p.log)) p.log = "g++ does not start";
    good = good && read_file(object, p.image);
    if (good) {
        Elf64_Ehdr head;
        memcpy(&head, p.image.data(), sizeof head);
        p.image.resize(image_bytes(head));
        image_mark mark = {{}, image_sum(p.image.data(), p.image.size())};
        memcpy(mark.magic, IMAGE_MAGIC, sizeof mark.magic);
        p.image.append((char*)&mark, sizeof mark);
        if (write_file(object, p.image)) rename(object.c_str(), (kept + key).c_str());
    }
    for (const std::string& file : {text, object, log}) unlink(file.c_str());
    return good ? SUCCESS : COMPILATION;
}

}  // namespace

extern "C" {

// How often g++ was started.
OUT unsigned emulator_compilations() { return compilations; }

OUT result nvrtcVersion(int* major, int* minor) {
    if (!major || !minor) return INVALID_INPUT;
    *major = 13;
    *minor = 0;
    return SUCCESS;
}

OUT const char* nvrtcGetErrorString(int code) {
    static const char* const NAMES[] = {"NVRTC_SUCCESS", "NVRTC_ERROR_OUT_OF_MEMORY", "NVRTC_ERROR_PROGRAM_CREATION_FAILURE", "NVRTC_ERROR_INVALID_INPUT",
                                        "NVRTC_ERROR_INVALID_PROGRAM", "NVRTC_ERROR_INVALID_OPTION", "NVRTC_ERROR_COMPILATION",
                                        "NVRTC_ERROR_BUILTIN_OPERATION_FAILURE"};
    return code >= 0 && code < 8 ? NAMES[code] : "NVRTC_ERROR unknown";
}

OUT result nvrtcGetNumSupportedArchs(int* into) {
    *into = sizeof ARCHITECTURES / sizeof *ARCHITECTURES;
    return SUCCESS;
}

OUT result nvrtcGetSupportedArchs(int* into) {
    memcpy(into, ARCHITECTURES, sizeof ARCHITECTURES);
    return SUCCESS;
}

OUT result nvrtcCreateProgram(program** into, const char* text, const char* name, int headers, const char* const*, const char* const*) {
    if (!into || !text || headers) return INVALID_INPUT;
    *into = new program{text, name ? name : "default_program"};
    return SUCCESS;
}

OUT result nvrtcDestroyProgram(program** what) {
    if (!what || !*what) return INVALID_PROGRAM;
    delete *what;
    *what = nullptr;
    return SUCCESS;
}

OUT result nvrtcCompileProgram(program* p, int count, const char* const* options) {
    if (!p) return INVALID_PROGRAM;
    bool machine = false, debug = false, verbose = false;
    std::string target;
    for (int i = 0; i < count; i++) {
        std::string option = options[i];
        bool known = false;
        for (const char* start : KNOWN) known |= !option.compare(0, strlen(start), start);
        size_t virtual_arch = option.find("=compute_"), arch = option.find("=sm_");
        if (option.find("arch") != std::string::npos) {
            int number = arch != std::string::npos ? atoi(&option[arch + 4]) : virtual_arch != std::string::npos ? atoi(&option[virtual_arch + 9]) : 0;
            bool supported = false;
            for (int a : ARCHITECTURES) supported |= a == number;
            known &= supported;
            machine = arch != std::string::npos;
            if (machine) target = option.substr(arch + 1);
        }
        verbose |= option == "--ptxas-options=-v";
        debug |= option == "-G" || option == "--device-debug";
        if (!known) {
            p->log = "nvrtc: error: invalid value or option: " + option + "\n";
            return INVALID_OPTION;
        }
    }
    p->log.clear();
    p->image.clear();
    result outcome = compile(*p, debug);
    p->compiled = outcome == SUCCESS;
    if (verbose && p->compiled)
        for (auto& kernel : kernels_of(p->text))
            p->log += "ptxas info    : Compiling entry function '" + kernel.name + "' for '" + target + "'\nptxas info    : Function properties for " + kernel.name +
                      "\n    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\nptxas info    : Used 32 registers, used 1 barriers\n";
    // Code for a virtual architecture is PTX alone.
    if (!machine) p->image.clear();
    return outcome;
}

OUT result nvrtcGetProgramLogSize(program* p, size_t* into) {
    if (!p) return INVALID_PROGRAM;
    *into = p->log.size() + 1;
    return SUCCESS;
}

OUT result nvrtcGetProgramLog(program* p, char* into) {
    if (!p) return INVALID_PROGRAM;
    memcpy(into, p->log.c_str(), p->log.size() + 1);
    return SUCCESS;
}

OUT result nvrtcGetCUBINSize(program* p, size_t* into) {
    if (!p || !p->compiled) return INVALID_PROGRAM;
    *into = p->image.size();
    return SUCCESS;
}

OUT result nvrtcGetCUBIN(program* p, char* into) {
    if (!p || !p->compiled || p->image.empty()) return INVALID_PROGRAM;
    memcpy(into, p->image.data(), p->image.size());
    return SUCCESS;
}

static const char PTX[] = "// The emulator makes no PTX.\n";

OUT result nvrtcGetPTXSize(program* p, size_t* into) {
    if (!p || !p->compiled) return INVALID_PROGRAM;
    *into = sizeof PTX;
    return SUCCESS;
}

OUT result nvrtcGetPTX(program* p, char* into) {
    if (!p || !p->compiled) return INVALID_PROGRAM;
    memcpy(into, PTX, sizeof PTX);
    return SUCCESS;
}

}  // extern "C"
