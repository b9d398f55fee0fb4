namespace nabla { namespace cuda {} }
