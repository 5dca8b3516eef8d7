/* What stands in for Oracle's client library, which no package index has: as much of it as oracledb asks for in thick
 * mode until it connects. It connects to nobody. Each function that would is noted, with its place, in the file
 * `asked` of the folder ORACLE_CLIENT. A session at a place called `kept` is there; all else fails. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHARSET = 31, NATIONAL_CHARSET = 262, UTF8 = 873, VERSION = 23 };

static int object;
static _Thread_local void *of_thread;

static int asked(const char *function, const char *place, int32_t length) {
    char path[4096];
    snprintf(path, sizeof path, "%s/asked", getenv("ORACLE_CLIENT"));
    FILE *file = fopen(path, "a");
    fprintf(file, "%s %.*s\n", function, (int)length, place);
    fclose(file);
    return length >= 4 && strncmp(place + length - 4, "kept", 4) == 0 ? 0 : -1;
}

int OCIServerAttach(void *server, void *error, const char *place, int32_t length, uint32_t mode) {
    return asked("OCIServerAttach", place, length);
}
int OCISessionGet(void *env, void *error, void **made, void *auth, const char *place, uint32_t length, ...) {
    return asked("OCISessionGet", place, length);
}
int OCISessionPoolCreate(void *env, void *error, void *pool, char **name, uint32_t *size, const char *place,
                         uint32_t length, ...) {
    return asked("OCISessionPoolCreate", place, length);
}
int OCIStmtPrepare2(void *service, void **made, void *error, const char *text, uint32_t length, ...) {
    return asked("OCIStmtPrepare2", text, length);
}

void OCIClientVersion(int *version, int *release, int *update, int *port_release, int *port_update) {
    *version = VERSION;
    *release = *update = *port_release = *port_update = 0;
}
int OCIServerRelease2(void *of, void *error, char *text, uint32_t size, uint8_t type, uint32_t *version, uint32_t mode) {
    snprintf(text, size, "none");
    *version = (uint32_t)VERSION << 24;
    return 0;
}
int OCIErrorGet(void *of, uint32_t record, char *state, int32_t *code, char *text, uint32_t size, uint32_t type) {
    *code = 12541;
    snprintf(text, size, "ORA-12541: nobody listens there");
    return 0;
}
int OCIAttrGet(const void *of, uint32_t type, void *found, uint32_t *size, uint32_t attribute, void *error) {
    if (attribute == CHARSET || attribute == NATIONAL_CHARSET) *(uint16_t *)found = UTF8;
    return 0;
}
int OCINlsNumericInfoGet(void *env, void *error, int32_t *found, uint16_t item) {
    *found = 4;
    return 0;
}
int OCINlsNameMap(void *env, char *found, uint32_t size, const char *name, uint32_t flag) {
    snprintf(found, size, "AL32UTF8");
    return 0;
}
uint16_t OCINlsCharSetNameToId(void *env, const char *name) { return UTF8; }

void OCIThreadProcessInit(void) {}
int OCIThreadKeyInit(void *env, void *error, void **key, void *destroy) {
    *key = &object;
    return 0;
}
int OCIThreadKeyGet(void *env, void *error, void *key, void **value) {
    *value = of_thread;
    return 0;
}
int OCIThreadKeySet(void *env, void *error, void *key, void *value) {
    of_thread = value;
    return 0;
}
int OCIThreadKeyDestroy(void *env, void *error, void **key) { return 0; }

int OCIEnvNlsCreate(void **made, ...) {
    *made = &object;
    return 0;
}
int OCIHandleAlloc(const void *parent, void **made, ...) {
    *made = &object;
    return 0;
}
int OCIHandleFree(void *of, uint32_t type) { return 0; }
int OCIAttrSet(void *of, ...) { return 0; }
int OCISessionBegin(void *service, ...) { return 0; }
int OCISessionEnd(void *service, ...) { return 0; }
int OCISessionPoolDestroy(void *pool, ...) { return 0; }
int OCIServerDetach(void *server, ...) { return 0; }
int OCITransRollback(void *service, ...) { return 0; }
