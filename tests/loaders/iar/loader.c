/*
 * The loader of ../armlink, linked the way of IAR: r9 is added to absolute addresses.
 */
#define NAME "IAR"
#include "../armlink/loader.c"
