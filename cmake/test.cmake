# ember_test(kind module libs...)   tests/<kind>/<module>_test.c -> CTest "<kind>.<module>"
# ember_fuzz(name libs...)          tests/fuzz/fuzz_<name>.c     -> CTest "fuzz.<name>", which replays
#                                   tests/fuzz/corpus/<name>/*; with clang and EMBER_FUZZ=ON
#                                   fuzz_<name> is a libFuzzer program, which can also search.
# ember_oom_test(module libs...)    tests/fault/oom_<module>_test.c -> CTest "fault.oom_<module>"
# A test that cannot run here (no reference data, no redis-server) exits with 77 and is reported skipped.
option(EMBER_FUZZ "Build libFuzzer programs (clang)" OFF)
if(EMBER_FUZZ)
    add_custom_target(fuzzers) # all of them and what they need, without the other tests
endif()

function(ember_test kind module)
    if(NOT EMBER_TESTS)
        return()
    endif()
    set(target ${kind}_${module}_test)
    add_executable(${target} ${PROJECT_SOURCE_DIR}/tests/${kind}/${module}_test.c)
    target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
    target_compile_definitions(${target} PRIVATE
        EMBER_SOURCE_DIR="${PROJECT_SOURCE_DIR}" EMBER_BINARY_DIR="${PROJECT_BINARY_DIR}"
        EMBER_REFERENCE_DEFAULT="${EMBER_REFERENCE_DIR}")
    target_link_libraries(${target} PRIVATE ${ARGN} ember::base dep::cmocka ember::flags)
    add_test(NAME ${kind}.${module} COMMAND ${target})
    set_tests_properties(${kind}.${module} PROPERTIES LABELS ${kind} SKIP_RETURN_CODE 77 TIMEOUT 300)
    if(EMBER_SANITIZE MATCHES "address") # absurd sizes are refused as malloc refuses them
        set_property(TEST ${kind}.${module} APPEND PROPERTY ENVIRONMENT
            "ASAN_OPTIONS=allocator_may_return_null=1")
    endif()
    if(EMBER_SANITIZE MATCHES "thread")
        set_property(TEST ${kind}.${module} APPEND PROPERTY ENVIRONMENT
            "TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/support/tsan.supp:allocator_may_return_null=1")
    endif()
endfunction()

# ember_oom_test(module libs...): tests/fault/oom_<module>_test.c, in which allocations of our code can be
# made to fail (tests/support/oom.h).
function(ember_oom_test module)
    if(NOT EMBER_TESTS)
        return()
    endif()
    ember_test(fault oom_${module} ${ARGN} dep::zmq)
    target_sources(fault_oom_${module}_test PRIVATE ${PROJECT_SOURCE_DIR}/tests/support/oom.c)
    foreach(name malloc calloc realloc aligned_alloc posix_memalign strdup free
            zmq_msg_init_size zmq_ctx_new zmq_socket pthread_create)
        target_link_options(fault_oom_${module}_test PRIVATE -Wl,--wrap=${name})
    endforeach()
endfunction()

function(ember_fuzz name)
    if(NOT EMBER_TESTS)
        return()
    endif()
    add_executable(fuzz_${name} ${PROJECT_SOURCE_DIR}/tests/fuzz/fuzz_${name}.c)
    target_include_directories(fuzz_${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
    target_link_libraries(fuzz_${name} PRIVATE ${ARGN} ember::base ember::flags)
    target_compile_definitions(fuzz_${name} PRIVATE
        EMBER_SOURCE_DIR="${PROJECT_SOURCE_DIR}" EMBER_BINARY_DIR="${PROJECT_BINARY_DIR}"
        EMBER_REFERENCE_DEFAULT="")
    if(EMBER_FUZZ)
        target_compile_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
        target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
        add_dependencies(fuzzers fuzz_${name})
        set(once -runs=0 -max_len=1048576)
    else()
        target_sources(fuzz_${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests/fuzz/replay.c)
    endif()
    add_test(NAME fuzz.${name} COMMAND fuzz_${name} ${once} ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name})
    set_tests_properties(fuzz.${name} PROPERTIES LABELS fuzz TIMEOUT 120)
endfunction()
