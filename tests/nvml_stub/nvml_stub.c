/* A stand-in for NVIDIA's library, as far as vbatch asks it. Each GPU is a line of the file that
 * NVML_STUB names: "ok", "lost" or "bare" (answers little); "init CODE" lets nvmlInit fail with
 * that code, "hang" lets the reading of the temperature never return. The file is read at each
 * nvmlInit. Layouts are those of NVML's header as pynvml declares them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int nvmlReturn_t;
typedef void *nvmlDevice_t;
enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7, GPU_IS_LOST = 15 };
enum { MOST = 16 };

static char kinds[MOST][32];
static int count, hangs;

static nvmlReturn_t read_scenario(void) {
  const char *path = getenv("NVML_STUB");
  FILE *file = path ? fopen(path, "r") : NULL;
  char line[64];
  int code = SUCCESS;
  count = hangs = 0;
  if (!file) return SUCCESS;
  while (fgets(line, sizeof line, file)) {
    line[strcspn(line, "\n")] = 0;
    if (sscanf(line, "init %d", &code) == 1) continue;
    if (!strcmp(line, "hang")) hangs = 1;
    else if (count < MOST && line[0]) strncpy(kinds[count++], line, 31);
  }
  fclose(file);
  return code;
}

static int at(nvmlDevice_t device) { return (int)(long)device - 1; }
static int is(nvmlDevice_t device, const char *kind) { return !strcmp(kinds[at(device)], kind); }
#define NEEDS_FULL(device) if (!is(device, "ok")) return is(device, "lost") ? GPU_IS_LOST : NOT_SUPPORTED

nvmlReturn_t nvmlInitWithFlags(unsigned flags) { (void)flags; return read_scenario(); }
nvmlReturn_t nvmlInit_v2(void) { return read_scenario(); }
nvmlReturn_t nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(nvmlReturn_t code) {
  if (code == GPU_IS_LOST) return "GPU is lost";
  if (code == 9) return "Driver Not Loaded";
  if (code == 18) return "Driver/library version mismatch";
  return "Not Supported";
}
nvmlReturn_t nvmlSystemGetDriverVersion(char *text, unsigned length) {
  snprintf(text, length, "580.65.06");
  return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *found) { *found = count; return SUCCESS; }
nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *device) {
  if ((int)index >= count) return INVALID_ARGUMENT;
  *device = (nvmlDevice_t)(long)(index + 1);
  return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *text, unsigned length) {
  if (is(device, "lost")) return GPU_IS_LOST;
  snprintf(text, length, "GPU-0000000%d", at(device));
  return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *text, unsigned length) {
  snprintf(text, length, is(device, "bare") ? "NVIDIA Old" : "NVIDIA H100 80GB HBM3");
  return SUCCESS;
}
struct memory { unsigned long long total, free, used; };
nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, struct memory *memory) {
  NEEDS_FULL(device);
  memory->total = 80ULL << 30; memory->used = (10ULL + at(device)) << 30;
  memory->free = memory->total - memory->used;
  return SUCCESS;
}
struct use { unsigned gpu, memory; };
nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, struct use *use) {
  NEEDS_FULL(device);
  use->gpu = 97 - at(device); use->memory = 40;
  return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, int sensor, unsigned *celsius) {
  (void)sensor;
  while (hangs) sleep(1);
  if (is(device, "lost")) return GPU_IS_LOST;
  *celsius = 61 + at(device);
  return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t device, unsigned *milliwatts) {
  NEEDS_FULL(device);
  *milliwatts = 412500;
  return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetEnforcedPowerLimit(nvmlDevice_t device, unsigned *milliwatts) {
  NEEDS_FULL(device);
  *milliwatts = 700000;
  return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, int type, unsigned *mhz) {
  NEEDS_FULL(device);
  *mhz = type == 1 ? 1755 : 2619;
  return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetCurrentClocksThrottleReasons(nvmlDevice_t device, unsigned long long *bits) {
  NEEDS_FULL(device);
  *bits = at(device) ? 0x1 : 0x4 | 0x20 | 0x1; /* power, heat; idle */
  return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t device, unsigned long long *millijoules) {
  NEEDS_FULL(device);
  *millijoules = 123456789;
  return SUCCESS;
}
struct process { unsigned pid; unsigned long long memory; unsigned instance, compute; };
static nvmlReturn_t processes(nvmlDevice_t device, unsigned *n, struct process *found, int graphics) {
  NEEDS_FULL(device);
  unsigned have = graphics ? 1 : 2;
  if (*n < have) { *n = have; return INSUFFICIENT_SIZE; }
  *n = have;
  memset(found, 0, have * sizeof *found);
  found[0].pid = getpid(); found[0].memory = 9ULL << 30;
  if (have > 1) { found[1].pid = 4000000; found[1].memory = ~0ULL; } /* not known */
  return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t d, unsigned *n, struct process *p) {
  return processes(d, n, p, 0);
}
nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v2(nvmlDevice_t d, unsigned *n, struct process *p) {
  return processes(d, n, p, 0);
}
nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v3(nvmlDevice_t d, unsigned *n, struct process *p) {
  return processes(d, n, p, 1);
}
nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v2(nvmlDevice_t d, unsigned *n, struct process *p) {
  return processes(d, n, p, 1);
}
