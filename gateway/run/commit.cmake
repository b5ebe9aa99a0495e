# cmake -DSOURCE=... -DOUTPUT=... [-DCOMMIT=...] -P commit.cmake
# Writes the commit of the sources as a header, where it is another one than before. Empty where they
# are no checkout.
cmake_minimum_required(VERSION 3.25)
if(NOT COMMIT AND EXISTS ${SOURCE}/.git)
  execute_process(COMMAND git -C ${SOURCE} rev-parse --short=12 HEAD
    OUTPUT_VARIABLE COMMIT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT "#define SALLYPORT_COMMIT \"${COMMIT}\"\n")
