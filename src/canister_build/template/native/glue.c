/* CPython as the runtime (Rust) needs it: what the C API offers as macros only, and starting the interpreter.
 * Not for anything about the platform: that is the runtime's. */

#define Py_BUILD_CORE
#include "Python.h"

#include "internal/pycore_code.h"
#include "internal/pycore_frame.h"
#include "internal/pycore_opcode_metadata.h"
#include "opcode_ids.h"

/* Kinds of Python objects the Candid codec tells apart; the runtime's `Kind` has the same numbers. */
enum { OTHER, NONE, BOOL, INT, FLOAT, STR, BYTES, BYTEARRAY, LIST, TUPLE, DICT };

extern const struct _frozen canister_frozen_modules[];

int glue_kind(PyObject *object)
{
    if (object == Py_None) return NONE;
    if (PyBool_Check(object)) return BOOL;
    if (PyLong_Check(object)) return INT;
    if (PyFloat_Check(object)) return FLOAT;
    if (PyUnicode_Check(object)) return STR;
    if (PyBytes_Check(object)) return BYTES;
    if (PyByteArray_Check(object)) return BYTEARRAY;
    if (PyList_Check(object)) return LIST;
    if (PyTuple_Check(object)) return TUPLE;
    if (PyDict_Check(object)) return DICT;
    return OTHER;
}

PyObject *glue_none(void) { return Py_NewRef(Py_None); }

PyObject *glue_bool(int value) { return PyBool_FromLong(value); }

int glue_is_true(PyObject *object) { return object == Py_True; }

int glue_is_generator(PyObject *object) { return PyGen_CheckExact(object); }

int glue_has_type(PyObject *object, PyObject *type) { return (PyObject *)Py_TYPE(object) == type; }

const char *glue_type_name(PyObject *object) { return Py_TYPE(object)->tp_name; }

void glue_incref(PyObject *object) { Py_INCREF(object); }

void glue_decref(PyObject *object) { Py_DECREF(object); }

/* The bytes of a bytes or bytearray object. */
const char *glue_buffer(PyObject *object, Py_ssize_t *size)
{
    if (PyBytes_Check(object)) {
        *size = PyBytes_GET_SIZE(object);
        return PyBytes_AS_STRING(object);
    }
    *size = PyByteArray_GET_SIZE(object);
    return PyByteArray_AS_STRING(object);
}

Py_ssize_t glue_sequence_size(PyObject *object)
{
    return PyList_Check(object) ? PyList_GET_SIZE(object) : PyTuple_GET_SIZE(object);
}

/* Borrowed item of a list or tuple; the caller has checked the index. */
PyObject *glue_sequence_item(PyObject *object, Py_ssize_t index)
{
    return PyList_Check(object) ? PyList_GET_ITEM(object, index) : PyTuple_GET_ITEM(object, index);
}

/* Fill a new list or tuple; steals the item. */
void glue_list_set(PyObject *list, Py_ssize_t index, PyObject *item) { PyList_SET_ITEM(list, index, item); }

void glue_tuple_set(PyObject *tuple, Py_ssize_t index, PyObject *item) { PyTuple_SET_ITEM(tuple, index, item); }

/* 0, or -1 when the int does not fit. */
int glue_as_u64(PyObject *object, unsigned long long *value)
{
    *value = PyLong_AsUnsignedLongLong(object);
    if (*value == (unsigned long long)-1 && PyErr_Occurred()) {
        PyErr_Clear();
        return -1;
    }
    return 0;
}

int glue_as_i64(PyObject *object, long long *value)
{
    int overflow;
    *value = PyLong_AsLongLongAndOverflow(object, &overflow);
    return overflow ? -1 : 0;
}

int glue_is_negative(PyObject *object) { return _PyLong_Sign(object) < 0; }

/* Bytes that hold the int in two's complement, little-endian. */
Py_ssize_t glue_int_size(PyObject *object) { return (Py_ssize_t)(_PyLong_NumBits(object) / 8 + 1); }

int glue_int_to_bytes(PyObject *object, unsigned char *bytes, Py_ssize_t size)
{
    return PyLong_AsNativeBytes(object, bytes, size, Py_ASNATIVEBYTES_LITTLE_ENDIAN) < 0 ? -1 : 0;
}

PyObject *glue_int_from_bytes(const unsigned char *bytes, size_t size, int is_signed)
{
    return is_signed ? PyLong_FromNativeBytes(bytes, size, Py_ASNATIVEBYTES_LITTLE_ENDIAN)
                     : PyLong_FromUnsignedNativeBytes(bytes, size, Py_ASNATIVEBYTES_LITTLE_ENDIAN);
}

/* Borrowed value of a dict, NULL when the key is missing. */
PyObject *glue_dict_get(PyObject *dict, PyObject *key) { return PyDict_GetItem(dict, key); }

PyObject *glue_call(PyObject *callable, PyObject *const *arguments, size_t count)
{
    return PyObject_Vectorcall(callable, arguments, count, NULL);
}

/* Whether the Python code that is running, which called a function of C, throws away what it returns. */
int glue_result_is_dropped(void)
{
    _PyInterpreterFrame *caller = PyThreadState_Get()->current_frame;
    if (caller == NULL || caller->owner == FRAME_OWNED_BY_CSTACK) return 0;
    _Py_CODEUNIT *call = caller->instr_ptr;
    if (_PyOpcode_Deopt[call->op.code] != CALL) return 0;
    return call[1 + INLINE_CACHE_ENTRIES_CALL].op.code == POP_TOP;
}

PyObject *glue_bound_function(PyMethodDef *method, PyObject *self) { return PyCFunction_New(method, self); }

/* One step of a generator: 1 and what it yielded, 0 and what it returned, -1 with an exception set. */
int glue_send(PyObject *generator, PyObject *value, PyObject **result)
{
    switch (PyIter_Send(generator, value, result)) {
    case PYGEN_NEXT: return 1;
    case PYGEN_RETURN: return 0;
    default: return -1;
    }
}

/* "Type: text" of the exception that is set, which is cleared; NULL when there is none. */
PyObject *glue_take_error(void)
{
    PyObject *exception = PyErr_GetRaisedException();
    if (exception == NULL) return NULL;
    PyObject *text = PyUnicode_FromFormat("%s: %S", Py_TYPE(exception)->tp_name, exception);
    if (text == NULL) {
        PyErr_Clear();
        text = PyUnicode_FromString(Py_TYPE(exception)->tp_name);
    }
    Py_DECREF(exception);
    return text;
}

void glue_set_error(PyObject *type, const char *text, Py_ssize_t size)
{
    PyObject *message = PyUnicode_DecodeUTF8(text, size, "replace");
    if (message == NULL) return;
    PyErr_SetObject(type, message);
    Py_DECREF(message);
}

PyObject *glue_type_error(void) { return PyExc_TypeError; }

PyObject *glue_value_error(void) { return PyExc_ValueError; }

static struct PyModuleDef platform_module = {
    PyModuleDef_HEAD_INIT, "_basilisk_ic", NULL, -1, NULL, NULL, NULL, NULL, NULL,
};

/* A module of these methods, importable as `_basilisk_ic`. */
int glue_add_module(PyMethodDef *methods)
{
    platform_module.m_methods = methods;
    PyObject *module = PyModule_Create(&platform_module);
    if (module == NULL) return -1;
    PyObject *modules = PyImport_GetModuleDict();
    int failed = PyDict_SetItemString(modules, "_basilisk_ic", module);
    Py_DECREF(module);
    return failed;
}

/* Runs source text in `__main__`, under the file name given. */
int glue_run(const char *source, const char *filename)
{
    PyObject *main_module = PyImport_AddModule("__main__");
    if (main_module == NULL) return -1;
    PyObject *globals = PyModule_GetDict(main_module);
    PyObject *code = Py_CompileString(source, filename, Py_file_input);
    if (code == NULL) return -1;
    PyObject *result = PyEval_EvalCode(code, globals, globals);
    Py_DECREF(code);
    if (result == NULL) return -1;
    Py_DECREF(result);
    return 0;
}

/* Borrowed global of `__main__`, NULL when there is none. */
PyObject *glue_global(const char *name)
{
    return PyDict_GetItemString(PyModule_GetDict(PyImport_AddModule("__main__")), name);
}

/* Starts the interpreter: isolated, frozen modules only, no files, a fixed hash seed (replicas must agree). */
int glue_start(void)
{
    PyImport_FrozenModules = canister_frozen_modules;
    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
    config.use_frozen_modules = 1;
    config.install_signal_handlers = 0;
    config.site_import = 0;
    config.pathconfig_warnings = 0;
    config.module_search_paths_set = 1;
    config.use_hash_seed = 1;
    config.hash_seed = 0;
    config.write_bytecode = 0;
    PyStatus status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    if (PyStatus_Exception(status)) {
        PyErr_Clear();
        return -1;
    }
    return 0;
}

/* Places the build fills: the canister's Python source and its method table (see wasm_manipulator of ic-basilisk). */
__attribute__((noinline)) int python_source_passive_data_size(void)
{
    __asm__ volatile("");
    return 0;
}

__attribute__((noinline)) int method_meta_passive_data_size(void)
{
    __asm__ volatile("");
    return 0;
}

__attribute__((noinline)) void init_python_source_passive_data(int destination)
{
    __asm__ volatile("" : : "r"(destination));
}

__attribute__((noinline)) void init_method_meta_passive_data(int destination)
{
    __asm__ volatile("" : : "r"(destination));
}
