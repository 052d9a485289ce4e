/* The driver's library, as far as triton's C module is linked to it: every call succeeds, and an
 * attribute of the device has its own number as its value. */

#define DOES_NOTHING(name) int name(void) { return 0; }

DOES_NOTHING(cuCtxGetCurrent)
DOES_NOTHING(cuCtxGetLimit)
DOES_NOTHING(cuCtxSetCurrent)
DOES_NOTHING(cuCtxSetLimit)
DOES_NOTHING(cuDeviceGet)
DOES_NOTHING(cuDevicePrimaryCtxRetain)
DOES_NOTHING(cuDriverGetVersion)
DOES_NOTHING(cuFuncGetAttribute)
DOES_NOTHING(cuFuncSetAttribute)
DOES_NOTHING(cuFuncSetCacheConfig)
DOES_NOTHING(cuGetErrorString)
DOES_NOTHING(cuModuleGetFunction)
DOES_NOTHING(cuModuleLoadData)
DOES_NOTHING(cuPointerGetAttribute)

int cuDeviceGetAttribute(int *value, int attribute, int device)
{
    *value = attribute;
    return 0;
}
